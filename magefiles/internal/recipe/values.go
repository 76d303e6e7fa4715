package recipe

import (
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/gocty"
)

// Values reads variables of a recipe. Each question that has no answer is kept,
// so that a caller asks for all it needs and then looks at Err once.
type Values struct {
	recipe *Recipe
	errs   []error
}

// Variables returns a reader of the recipe's variables.
func (r *Recipe) Variables() *Values { return &Values{recipe: r} }

// VariableAt is where the value of a variable is written: in the var-file, or
// else where its default is declared.
func (r *Recipe) VariableAt(name string) hcl.Range {
	if v, ok := r.variables[name]; ok {
		return v.from
	}
	return hcl.Range{}
}

// Err reports every variable asked for that is not declared, is null or has
// another type.
func (v *Values) Err() error { return errors.Join(v.errs...) }

// String returns a string variable.
func (v *Values) String(name string) string { return read[string](v, name, cty.String) }

// Int returns a number variable that has to be whole.
func (v *Values) Int(name string) int64 { return read[int64](v, name, cty.Number) }

// Bool returns a bool variable.
func (v *Values) Bool(name string) bool { return read[bool](v, name, cty.Bool) }

// Strings returns a variable that is a list of strings.
func (v *Values) Strings(name string) []string {
	return read[[]string](v, name, cty.List(cty.String))
}

func read[T any](v *Values, name string, typ cty.Type) T {
	var to T
	fail := func(format string, args ...any) T {
		v.errs = append(v.errs, fmt.Errorf("the recipe's variable %q %s", name, fmt.Sprintf(format, args...)))
		var zero T
		return zero
	}
	decl, ok := v.recipe.variables[name]
	if !ok {
		return fail("is needed, but not declared")
	}
	if decl.value.IsNull() {
		return fail("is null (%s)", decl.from)
	}
	if decl.value.Type().IsPrimitiveType() && !decl.value.Type().Equals(typ) {
		return fail("is a %s, but has to be a %s (%s)", decl.value.Type().FriendlyName(), typ.FriendlyName(), decl.declared)
	}
	val, err := convert.Convert(decl.value, typ)
	if err == nil {
		err = gocty.FromCtyValue(val, &to)
	}
	if err != nil {
		return fail("is not usable: %s (%s)", err, decl.from)
	}
	return to
}
