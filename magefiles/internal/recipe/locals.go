package recipe

import (
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

type local struct {
	expr     hcl.Expression
	value    cty.Value
	state    int
	declared hcl.Range
}

// The states of a local value while it is evaluated.
const (
	waiting = iota
	underWay
	done
)

var localSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
	{Name: "expression", Required: true},
	{Name: "sensitive"},
}}

func (l *loader) declareLocals(content *hcl.BodyContent) {
	l.locals = map[string]*local{}
	add := func(name string, loc *local) {
		if other, ok := l.locals[name]; ok {
			l.problem(loc.declared, "Duplicate local value", "The local value %q is defined at %s already.", name, other.declared)
			return
		}
		l.locals[name] = loc
	}
	for _, b := range content.Blocks {
		switch b.Type {
		case "locals":
			attrs, diags := b.Body.JustAttributes()
			l.diags = append(l.diags, diags...)
			for _, name := range slices.Sorted(maps.Keys(attrs)) {
				add(name, &local{expr: attrs[name].Expr, value: cty.DynamicVal, declared: attrs[name].Range})
			}
		case "local":
			content, diags := b.Body.Content(localSchema)
			if l.diags = append(l.diags, diags...); diags.HasErrors() {
				continue
			}
			l.refuseSensitive(content)
			add(b.Labels[0], &local{expr: content.Attributes["expression"].Expr, value: cty.DynamicVal, declared: b.DefRange})
		}
	}
}

// refuseSensitive refuses what would make the program keep a value to itself:
// everything a recipe says is told, and ends up in an image for everybody.
func (l *loader) refuseSensitive(content *hcl.BodyContent) {
	if attr, ok := content.Attributes["sensitive"]; ok {
		l.unsupported(attr.NameRange, `"sensitive"`, "An image that everybody can read is no place for a secret.")
	}
}

func (l *loader) evaluateLocals() {
	for _, name := range slices.Sorted(maps.Keys(l.locals)) {
		l.evaluateLocal(name)
	}
}

// evaluateLocal evaluates what the local value refers to first.
func (l *loader) evaluateLocal(name string) {
	loc := l.locals[name]
	if loc.state != waiting {
		return
	}
	loc.state = underWay
	defer func() { loc.state = done }()
	for _, t := range loc.expr.Variables() {
		root, dep := reference(t)
		if root == "local" && dep == "" {
			l.problem(t.SourceRange(), "Circular local value", "The local value %q refers to all local values, and so to itself. Name those that it needs, as in local.x.", name)
			return
		}
		if root != "local" || l.locals[dep] == nil {
			continue
		}
		if l.locals[dep].state == underWay {
			l.problem(t.SourceRange(), "Circular local value", "The local value %q depends on itself by way of %q.", name, dep)
			return
		}
		l.evaluateLocal(dep)
	}
	val, diags := loc.expr.Value(l.context(nil))
	if l.diags = append(l.diags, diags...); !diags.HasErrors() {
		loc.value = val
	}
}

// checkReferences reports every var.x and local.x that nothing declares, and
// remembers them, so that evaluating them is no second problem.
func (l *loader) checkReferences(template *hclsyntax.Body) {
	l.undeclared = map[string][]string{}
	for _, b := range template.Blocks {
		switch b.Type {
		case "locals", "local", "source", "build":
			l.checkBody(b.Body)
		}
	}
}

func (l *loader) checkBody(body *hclsyntax.Body) {
	for _, attr := range body.Attributes {
		for _, t := range attr.Expr.Variables() {
			root, name := reference(t)
			switch {
			case name == "":
				continue
			case root == "var" && l.variables[name] == nil:
				l.problem(t.SourceRange(), "Undefined variable", "There is no variable %q. Declare it with a \"variable\" block.", name)
			case root == "local" && l.locals[name] == nil:
				l.problem(t.SourceRange(), "Undefined local value", "There is no local value %q. Define it in a \"locals\" block.", name)
			default:
				continue
			}
			l.undeclared[root] = append(l.undeclared[root], name)
		}
	}
	for _, b := range body.Blocks {
		l.checkBody(b.Body)
	}
}
