package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// variable is a declared input variable and the value it ended up with.
type variable struct {
	name        string
	typ         cty.Type
	value       cty.Value // DynamicVal where it could not be found out
	fallback    cty.Value // the default; NilVal where there is none
	set         bool
	from        hcl.Range // of the expression that set it; the declaration's otherwise
	validations []validation
	declared    hcl.Range
}

type validation struct {
	condition hcl.Expression
	message   string
	declared  hcl.Range
}

var variableSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{
		{Name: "type"}, {Name: "description"}, {Name: "default"}, {Name: "sensitive"},
	},
	Blocks: []hcl.BlockHeaderSchema{{Type: "validation"}},
}

var validationSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
	{Name: "condition", Required: true},
	{Name: "error_message", Required: true},
}}

func (l *loader) declareVariables(content *hcl.BodyContent) {
	l.variables = map[string]*variable{}
	for _, b := range content.Blocks.OfType("variable") {
		name := b.Labels[0]
		if !hclsyntax.ValidIdentifier(name) {
			l.problem(b.LabelRanges[0], "Invalid variable name", "%q is no name: it has to start with a letter and may hold letters, digits, underscores and hyphens.", name)
			continue
		}
		if other, ok := l.variables[name]; ok {
			l.problem(b.DefRange, "Duplicate variable", "The variable %q is declared at %s already.", name, other.declared)
			continue
		}
		l.variables[name] = l.declareVariable(name, b)
	}
}

func (l *loader) declareVariable(name string, b *hcl.Block) *variable {
	v := &variable{name: name, typ: cty.DynamicPseudoType, value: cty.DynamicVal, from: b.DefRange, declared: b.DefRange}
	content, diags := b.Body.Content(variableSchema)
	l.diags = append(l.diags, diags...)
	if attr, ok := content.Attributes["type"]; ok {
		typ, diags := typeexpr.TypeConstraint(attr.Expr)
		l.diags = append(l.diags, diags...)
		v.typ = typ
	}
	var description string
	if attr, ok := content.Attributes["description"]; ok {
		l.diags = append(l.diags, gohcl.DecodeExpression(attr.Expr, nil, &description)...)
	}
	l.refuseSensitive(content)
	if attr, ok := content.Attributes["default"]; ok {
		l.assign(v, attr.Expr)
		if v.typ == cty.DynamicPseudoType {
			v.typ = v.value.Type()
		}
		v.fallback = v.value
	}
	for _, b := range content.Blocks {
		l.declareValidation(v, b)
	}
	return v
}

func (l *loader) declareValidation(v *variable, b *hcl.Block) {
	content, diags := b.Body.Content(validationSchema)
	l.diags = append(l.diags, diags...)
	if diags.HasErrors() {
		return
	}
	val := validation{condition: content.Attributes["condition"].Expr, declared: b.DefRange}
	if diags := gohcl.DecodeExpression(content.Attributes["error_message"].Expr, nil, &val.message); diags.HasErrors() {
		l.diags = append(l.diags, diags...)
		return
	}
	if !looksLikeSentences(val.message) {
		l.problem(content.Attributes["error_message"].Expr.Range(), "Invalid validation error message",
			"Packer takes full sentences only: begin with a capital letter and end with a full stop or a question mark.")
		return
	}
	itself := 0
	for _, t := range val.condition.Variables() {
		root, name := reference(t)
		_, dotted := t[min(1, len(t)-1)].(hcl.TraverseAttr) // Packer takes var["x"] for no reference in here
		if root != "var" || name != v.name || !dotted {
			l.problem(t.SourceRange(), "Invalid reference in variable validation",
				"The condition may only refer to the variable itself, as var.%s.", v.name)
			return
		}
		itself++
	}
	if itself == 0 {
		l.problem(val.condition.Range(), "Invalid variable validation condition",
			"The condition has to refer to var.%s to test its value.", v.name)
		return
	}
	v.validations = append(v.validations, val)
}

func looksLikeSentences(s string) bool {
	s = strings.TrimSpace(s)
	if s == "" || strings.ToUpper(s[:1]) != s[:1] {
		return false
	}
	return strings.ContainsAny(s[len(s)-1:], ".?!")
}

func (l *loader) assignFromFile(body *hclsyntax.Body) {
	attrs, diags := body.JustAttributes()
	l.diags = append(l.diags, diags...)
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		attr := attrs[name]
		v, ok := l.variables[name]
		if !ok {
			l.problem(attr.NameRange, "Undeclared variable", "The recipe has no variable %q; its variables are %s.", name, l.variableNames())
			continue
		}
		l.assign(v, attr.Expr)
	}
}

// assignFromArguments takes values as strings, as -var does: a string or a
// number is meant literally, anything else is an expression.
func (l *loader) assignFromArguments(vars map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		v, ok := l.variables[name]
		if !ok {
			l.diags = append(l.diags, &hcl.Diagnostic{
				Severity: hcl.DiagError,
				Summary:  "Undeclared variable",
				Detail:   fmt.Sprintf("A value was given for %q, but the recipe has no such variable; its variables are %s.", name, l.variableNames()),
			})
			continue
		}
		file := fmt.Sprintf("<value given for var.%s>", name)
		var expr hclsyntax.Expression = &hclsyntax.LiteralValueExpr{
			Val: cty.StringVal(vars[name]),
			SrcRange: hcl.Range{Filename: file, Start: hcl.InitialPos,
				End: hcl.Pos{Line: 1, Column: len(vars[name]) + 1, Byte: len(vars[name])}},
		}
		l.files[file] = &hcl.File{Bytes: []byte(vars[name])}
		if v.typ != cty.String && v.typ != cty.Number && v.typ != cty.DynamicPseudoType {
			var diags hcl.Diagnostics
			expr, diags = hclsyntax.ParseExpression([]byte(vars[name]), file, hcl.InitialPos)
			if l.diags = append(l.diags, diags...); diags.HasErrors() {
				v.set, v.value = true, cty.DynamicVal
				continue
			}
		}
		l.assign(v, expr)
	}
}

// assign gives v the value of expr, which may refer to nothing.
func (l *loader) assign(v *variable, expr hcl.Expression) {
	v.set, v.from, v.value = true, expr.Range(), cty.DynamicVal
	val, diags := expr.Value(nil)
	if l.diags = append(l.diags, diags...); diags.HasErrors() {
		return
	}
	val, err := convert.Convert(val, v.typ)
	if err != nil {
		l.problem(v.from, "Invalid value for variable", "The variable %q is a %s: %s.", v.name, v.typ.FriendlyName(), err)
		return
	}
	v.value = val
}

func (l *loader) validateVariables() {
	for _, name := range slices.Sorted(maps.Keys(l.variables)) {
		v := l.variables[name]
		if !v.set {
			l.problem(v.declared, "Unset variable", "The variable %q has no default, and no value was given for it.", name)
			continue
		}
		if !v.value.IsWhollyKnown() {
			continue
		}
		if holdsNUL(v.value) {
			l.problem(v.from, "Invalid value for variable", "The value of the variable %q has a NUL byte.", name)
			continue
		}
		for _, val := range v.validations {
			l.validate(v, val)
		}
	}
}

func (l *loader) validate(v *variable, val validation) {
	ctx := &hcl.EvalContext{
		Functions: functions(),
		Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{v.name: v.value})},
	}
	result, diags := val.condition.Value(ctx)
	if l.diags = append(l.diags, diags...); diags.HasErrors() {
		return
	}
	result, err := convert.Convert(result, cty.Bool)
	if err != nil || result.IsNull() || !result.IsKnown() {
		l.problem(val.condition.Range(), "Invalid variable validation condition", "The condition has to be true or false.")
		return
	}
	if result.False() {
		l.problem(v.from, "Invalid value for variable", "%s This is the rule of the variable %q at %s.", val.message, v.name, val.declared)
	}
}

func (l *loader) variableNames() string {
	return strings.Join(slices.Sorted(maps.Keys(l.variables)), ", ")
}

// reference takes var.x or var["x"] apart; name is "" where a traversal refers
// to all there is.
func reference(t hcl.Traversal) (root, name string) {
	if len(t) > 1 {
		switch step := t[1].(type) {
		case hcl.TraverseAttr:
			name = step.Name
		case hcl.TraverseIndex:
			if step.Key.Type() == cty.String {
				name = step.Key.AsString()
			}
		}
	}
	return t.RootName(), name
}
