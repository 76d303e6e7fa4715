package packer

import (
	"fmt"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// The checkout's files that name the builder and pin its digest.
func builderList(root string) string { return filepath.Join(root, "packer", "builder.txt") }
func builderLock(root string) string { return filepath.Join(root, "packer", "builder.lock") }

// ReadBuilder returns the builder that the checkout at root names, with its
// digest if one is pinned.
func ReadBuilder(root string) (Builder, error) {
	entry, err := builderEntry(root)
	if err != nil {
		return Builder{}, err
	}
	locked, err := containerimage.ReadLock(builderLock(root))
	if err != nil {
		return Builder{}, err
	}
	builder := Builder{Reference: entry.Reference}
	for _, l := range locked {
		if l.Reference == builder.Reference {
			builder.Digest = l.Digest
		}
	}
	return builder, nil
}

func builderEntry(root string) (containerimage.Entry, error) {
	entries, err := containerimage.ReadList(builderList(root))
	if err != nil {
		return containerimage.Entry{}, err
	}
	if len(entries) != 1 {
		return containerimage.Entry{}, fmt.Errorf("%s has to name one image, not %d", builderList(root), len(entries))
	}
	return entries[0], nil
}

// PinBuilder keeps the digest that the builder's tag stood for.
func PinBuilder(root, digest string, log *progress.Reporter) error {
	entry, err := builderEntry(root)
	if err != nil {
		return err
	}
	log.Printf("%s has a new digest: commit it, so that the next build uses the same builder", builderLock(root))
	return containerimage.WriteLock(builderLock(root), []containerimage.Locked{{Entry: entry, Digest: digest}})
}
