package recipe

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Under Packer a chroot has no resolver, starts the services of the packages
// that are installed in it, and keeps what is written to /run, unless the
// recipe says otherwise. The embedded engine says otherwise by itself: these
// are the commands and the mount that come to the same, and so the ones that a
// recipe has to have.
func chrootSetup() [][]string {
	return [][]string{
		{"cp", "--remove-destination", "/etc/resolv.conf", "$MOUNTPOINT/etc/resolv.conf"},
		{"sh", "-c", `printf '#!/bin/sh\nexit 101\n' >"$0" && chmod 755 "$0"`, "$MOUNTPOINT/usr/sbin/policy-rc.d"},
	}
}

func chrootMountSpec() spec {
	return spec{
		known:    map[string]cty.Type{"mount_type": cty.String, "source_path": cty.String, "destination_path": cty.String},
		required: []string{"mount_type", "source_path", "destination_path"},
	}
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

func (l *loader) checkChrootMounts(s *Source, blocks hcl.Blocks, ctx *hcl.EvalContext) {
	if len(blocks) != 1 {
		l.problem(s.Range, "Not supported", "The embedded engine mounts a tmpfs on /run in the chroot, so Packer has to be told to: \"additional_chroot_mounts\" is needed once, for that, and there are %d.", len(blocks))
	}
	for _, b := range blocks {
		a, _ := l.decode(b, "a chroot mount", chrootMountSpec(), ctx)
		l.oneOf(a, "mount_type", "tmpfs")
		l.oneOf(a, "source_path", "tmpfs")
		l.oneOf(a, "destination_path", "/run")
	}
}
