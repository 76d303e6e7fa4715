package recipe

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

func TestFunctions(t *testing.T) {
	num, str := cty.NumberIntVal, cty.StringVal
	for expr, want := range map[string]cty.Value{
		`length("héllo")`:              num(5),
		`length(["a", 1, true])`:       num(3),
		`length({ a = 1, b = "x" })`:   num(2),
		`length(split(",", "a,b"))`:    num(2),
		`basename("a/b.img.xz")`:       str("b.img.xz"),
		`dirname("a/b.img.xz")`:        str("a"),
		`base64encode("hi")`:           str("aGk="),
		`base64decode("aGk=")`:         str("hi"),
		`sha256("")`:                   str("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
		`can(regex("^[0-9]+$", "1x"))`: cty.False,
		`try(regex("[0-9]+", "a"), 7)`: num(7),
		`format("%s-%03d", "v", 7)`:    str("v-007"),
		`convert("5", number)`:         num(5),
		`replace("a.b", ".", "-")`:     str("a-b"),
		`regex_replace("ab", "a", "")`: str("b"),
		`contains(["a", "b"], "b")`:    cty.True,
		`upper(trimspace(" x "))`:      str("X"),
	} {
		got, diags := evaluate(t, expr)
		if diags.HasErrors() || !got.RawEquals(want) {
			t.Errorf("%s = %#v, %v; want %#v", expr, got, diags, want)
		}
	}
	for _, expr := range []string{
		`length(5)`, `base64decode("?")`,
		// Not the same at every evaluation.
		`env("HOME")`, `timestamp()`, `uuidv4()`, `file("x")`, `vault("a", "b")`,
		// Not in Packer 1.10.
		`alltrue([true])`, `startswith("ab", "a")`, `strcontains("ab", "a")`, `sum([1])`,
	} {
		if got, diags := evaluate(t, expr); !diags.HasErrors() {
			t.Errorf("%s = %#v, want an error", expr, got)
		}
	}
}

func evaluate(t *testing.T, text string) (cty.Value, hcl.Diagnostics) {
	t.Helper()
	expr, diags := hclsyntax.ParseExpression([]byte(text), "test", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return expr.Value(&hcl.EvalContext{Functions: functions()})
}
