package build

import (
	"fmt"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
)

// CheckTable returns an error that names the recipe's lines if the partitions
// that r describes are not those in the table of an image. The size of the root
// partition is no part of it: the recipe leaves that open.
func CheckTable(r *recipe.Recipe, table diskimage.Table) error {
	described := r.Source.Partitions
	if len(described) != len(table.Partitions) {
		return r.Refuse(recipe.Problem{
			At:      r.Source.Range,
			Summary: "Another partition table",
			Detail:  fmt.Sprintf("The recipe describes %d partitions, but the image has %d.", len(described), len(table.Partitions)),
		})
	}
	var problems []recipe.Problem
	for i, p := range described {
		is := table.Partitions[i]
		differs := func(attribute string, described, found any) {
			problems = append(problems, recipe.Problem{
				At:      p.At(attribute),
				Summary: "Another partition table",
				Detail:  fmt.Sprintf("The recipe says that partition %d, %s, has %q %v, but in the image it has %v.", i+1, p.Name, attribute, described, found),
			})
		}
		if p.Type != is.Type {
			differs("type", p.Type, is.Type)
		}
		if sector := is.Start / diskimage.SectorSize; p.StartSector != sector {
			differs("start_sector", p.StartSector, sector)
		}
		if p.SizeBytes != 0 && p.SizeBytes != is.Size {
			differs("size", fmt.Sprintf("%s (%d bytes)", p.Size, p.SizeBytes), fmt.Sprintf("%d bytes", is.Size))
		}
	}
	return r.Refuse(problems...)
}
