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
		a.values[name] = attribute{value: l.evaluate(name, attr.Expr, typ, slices.Contains(s.required, name), ctx), expr: attr.Expr}
	}
	return a, content.Blocks
}

// evaluate returns the value of an attribute, or one that is not known once a
// problem with it is reported.
func (l *loader) evaluate(name string, expr hcl.Expression, typ cty.Type, required bool, ctx *hcl.EvalContext) cty.Value {
	unknown := cty.UnknownVal(typ)
	val, diags := expr.Value(ctx)
	if l.diags = append(l.diags, diags...); diags.HasErrors() {
		return unknown
	}
	if val.IsNull() && required {
		l.problem(expr.Range(), "Missing required argument", "The argument %q is required, but it is null.", name)
		return unknown
	}
	if val.IsNull() {
		l.problem(expr.Range(), "Incorrect attribute value type", "The argument %q is null: leave it out, or give it a value.", name)
		return unknown
	}
	value, err := convert.Convert(val, typ)
	if err != nil {
		l.problem(expr.Range(), "Incorrect attribute value type", "Inappropriate value for attribute %q: %s.", name, err)
		return unknown
	}
	if !value.IsWhollyKnown() {
		// What it refers to is reported already; this is for what may have slipped
		// through, since nothing may be left out in silence.
		if !l.diags.HasErrors() {
			l.problem(expr.Range(), "Unknown value", "The value of %q can not be found out.", name)
		}
		return unknown
	}
	if !l.checkStrings(name, expr, value) {
		return unknown
	}
	return value
}

// checkStrings reports whether the value can be used: it refuses null in a list
// and NUL bytes, which end a string wherever it is handed on, and "{{": Packer
// evaluates that as a Go template in every string it gives to a plugin.
func (l *loader) checkStrings(name string, expr hcl.Expression, value cty.Value) bool {
	usable := true
	_ = cty.Walk(value, func(_ cty.Path, v cty.Value) (bool, error) {
		switch {
		case v.IsNull():
			l.problem(expr.Range(), "Incorrect attribute value type", "Inappropriate value for attribute %q: an element is null.", name)
			usable = false
		case hasNUL(v):
			l.problem(expr.Range(), "Incorrect attribute value", "Inappropriate value for attribute %q: it has a NUL byte.", name)
			usable = false
		case name != "execute_command" && v.Type() == cty.String && strings.Contains(v.AsString(), "{{"):
			l.problem(expr.Range(), "Not supported", "Packer evaluates \"{{\" in %q as a Go template. Only execute_command may hold one here.", name)
		default:
			return true, nil
		}
		return false, nil
	})
	return usable
}

// hasNUL says whether v is a string with a NUL byte in it.
func hasNUL(v cty.Value) bool {
	return v.Type() == cty.String && v.IsKnown() && !v.IsNull() && strings.Contains(v.AsString(), "\x00")
}

// holdsNUL says whether v is or holds such a string.
func holdsNUL(v cty.Value) (found bool) {
	_ = cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) {
		found = found || hasNUL(v)
		return !found, nil
	})
	return found
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

// unknown says whether the attribute is set, but to nobody knows what: that is
// reported already.
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
