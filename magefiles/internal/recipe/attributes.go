package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/gocty"
)

// attributes are the evaluated attributes of a block. What could not be
// evaluated is there with a value that is not known; that is reported already.
type attributes struct {
	block     hcl.Range
	values    map[string]attribute
	variables map[string]*variable
}

type attribute struct {
	value cty.Value
	expr  hcl.Expression
}

// spec maps the attributes this program understands to their types, and names
// those it only knows to be Packer's.
type spec struct {
	known       map[string]cty.Type
	required    []string
	unsupported []string
	blocks      []hcl.BlockHeaderSchema
}

func (s spec) schema() *hcl.BodySchema {
	schema := &hcl.BodySchema{Blocks: s.blocks}
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(s.known)), s.unsupported) {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{
			Name: name, Required: slices.Contains(s.required, name),
		})
	}
	return schema
}

// decode evaluates the attributes of b. owner says in messages whose they are.
func (l *loader) decode(b *hcl.Block, owner string, s spec, ctx *hcl.EvalContext) (attributes, hcl.Blocks) {
	content, diags := b.Body.Content(s.schema())
	l.diags = append(l.diags, diags...)
	a := attributes{block: b.DefRange, values: map[string]attribute{}, variables: l.variables}
	for name, attr := range content.Attributes {
		typ, ok := s.known[name]
		if !ok {
			l.unsupported(attr.NameRange, fmt.Sprintf("%q of %s", name, owner), "")
			continue
		}
		value := cty.UnknownVal(typ)
		val, diags := attr.Expr.Value(ctx)
		l.diags = append(l.diags, diags...)
		if !diags.HasErrors() {
			if converted, err := convert.Convert(val, typ); err == nil {
				value = converted
				if value.IsNull() && slices.Contains(s.required, name) {
					l.problem(attr.Expr.Range(), "Missing required argument", "The argument %q is required, but it is null.", name)
				}
			} else {
				l.problem(attr.Expr.Range(), "Incorrect attribute value type", "Inappropriate value for attribute %q: %s.", name, err)
			}
		}
		a.values[name] = attribute{value: value, expr: attr.Expr}
		if name != "execute_command" {
			l.checkStrings(name, a.values[name])
		}
	}
	return a, content.Blocks
}

// checkStrings refuses null in a list, and "{{" anywhere: Packer evaluates that
// as a Go template in every string it gives to a plugin.
func (l *loader) checkStrings(name string, a attribute) {
	if !a.value.IsWhollyKnown() {
		return
	}
	_ = cty.Walk(a.value, func(path cty.Path, v cty.Value) (bool, error) {
		switch {
		case v.IsNull() && len(path) > 0:
			l.problem(a.expr.Range(), "Incorrect attribute value type", "Inappropriate value for attribute %q: an element is null.", name)
		case !v.IsNull() && v.Type() == cty.String && strings.Contains(v.AsString(), "{{"):
			l.problem(a.expr.Range(), "Not supported", "Packer evaluates \"{{\" in %q as a Go template. Only execute_command may hold one here.", name)
		default:
			return true, nil
		}
		return false, nil
	})
}

// at is where the attribute is, or its block where there is none.
func (a attributes) at(name string) hcl.Range {
	if attr, ok := a.values[name]; ok {
		return attr.expr.Range()
	}
	return a.block
}

// origin is where the attribute's value was written down: where its expression
// refers to one variable and nothing else, that is where this was set.
func (a attributes) origin(name string) hcl.Range {
	attr, ok := a.values[name]
	if !ok {
		return a.block
	}
	if v := a.variables[a.follows(name)]; v != nil {
		return v.from
	}
	return attr.expr.Range()
}

// follows returns the variable that is all that the attribute's value depends
// on, "" if there is none such.
func (a attributes) follows(name string) string {
	refers := a.values[name].expr.Variables()
	if len(refers) != 1 {
		return ""
	}
	root, variable := reference(refers[0])
	if root != "var" {
		return ""
	}
	return variable
}

// atElement is where element i of a list is.
func (a attributes) atElement(name string, i int) hcl.Range {
	if list, ok := a.values[name].expr.(*hclsyntax.TupleConsExpr); ok && i < len(list.Exprs) {
		return list.Exprs[i].Range()
	}
	return a.at(name)
}

// has says whether the attribute is set to a value that is known.
func (a attributes) has(name string) bool {
	attr, ok := a.values[name]
	return ok && attr.value.IsWhollyKnown() && !attr.value.IsNull()
}

// unknown says whether the attribute is set, but to nobody knows what.
func (a attributes) unknown(name string) bool {
	attr, ok := a.values[name]
	return ok && !attr.value.IsWhollyKnown()
}

func (a attributes) str(name string) string {
	if !a.has(name) {
		return ""
	}
	return a.values[name].value.AsString()
}

func (a attributes) list(name string) []string {
	if !a.has(name) {
		return nil
	}
	var list []string
	for _, v := range a.values[name].value.AsValueSlice() {
		if !v.IsNull() {
			list = append(list, v.AsString())
		}
	}
	return list
}

func (a attributes) int64(l *loader, name string) int64 {
	var n int64
	if a.has(name) {
		if err := gocty.FromCtyValue(a.values[name].value, &n); err != nil {
			l.problem(a.at(name), "Incorrect attribute value type", "Inappropriate value for attribute %q: %s.", name, err)
		}
	}
	return n
}
