package packer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// unknownAttributes lists what the source block of a template has and known
// has not: attributes by block, those of the source itself under "".
func unknownAttributes(src []byte, known map[string][]string) []string {
	file, diags := hclsyntax.ParseConfig(src, "template", hcl.InitialPos)
	if diags.HasErrors() {
		return []string{diags.Error()}
	}
	var problems []string
	check := func(name string, body *hclsyntax.Body) {
		for _, attribute := range slices.Sorted(maps.Keys(body.Attributes)) {
			if !slices.Contains(known[name], attribute) {
				problems = append(problems, fmt.Sprintf("%s: the builder has no attribute %s %q", body.Attributes[attribute].Range(), name, attribute))
			}
		}
	}
	for _, source := range file.Body.(*hclsyntax.Body).Blocks {
		if source.Type != "source" {
			continue
		}
		check("", source.Body)
		for _, nested := range source.Body.Blocks {
			if _, ok := known[nested.Type]; !ok {
				problems = append(problems, fmt.Sprintf("%s: the builder has no block %q", nested.Range(), nested.Type))
			}
			check(nested.Type, nested.Body)
		}
	}
	return problems
}
