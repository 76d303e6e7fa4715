package recipe

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Under Packer a chroot has no resolver, starts the services of the packages
// that are installed in it, and keeps what is written to /run, unless the
// recipe says otherwise. The embedded engine says otherwise by itself: these
// are the commands and the mount that come to the same, and so the only ones
// that a recipe may have.
func chrootSetup() [][]string {
	return [][]string{
		{"cp", "--remove-destination", "/etc/resolv.conf", "$MOUNTPOINT/etc/resolv.conf"},
		{"sh", "-c", `printf '#!/bin/sh\nexit 101\n' >"$0" && chmod 755 "$0"`, "$MOUNTPOINT/usr/sbin/policy-rc.d"},
	}
}

func chrootMountSpec() spec {
	return spec{known: map[string]cty.Type{"mount_type": cty.String, "source_path": cty.String, "destination_path": cty.String}}
}

func (l *loader) checkChrootSetup(a attributes) {
	const name = "image_setup_extra"
	if !a.has(name) {
		return
	}
	var got [][]string
	for _, command := range a.values[name].value.AsValueSlice() {
		var words []string
		for _, w := range command.AsValueSlice() {
			words = append(words, w.AsString())
		}
		got = append(got, words)
	}
	if !slices.EqualFunc(got, chrootSetup(), slices.Equal) {
		l.problem(a.at(name), "Not supported", "The embedded engine can set up a chroot in one way only: %q has to be %q, not %q.", name, chrootSetup(), got)
	}
}

func (l *loader) checkChrootMount(b *hcl.Block, ctx *hcl.EvalContext) {
	a, _ := l.decode(b, "a chroot mount", chrootMountSpec(), ctx)
	if a.str("mount_type") != "tmpfs" || a.str("source_path") != "tmpfs" || a.str("destination_path") != "/run" {
		l.problem(b.DefRange, "Not supported", "The embedded engine mounts nothing in the chroot but a tmpfs on /run, beside what the builder mounts by itself.")
	}
}
