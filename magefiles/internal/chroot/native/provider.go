package native

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Provider prepares the overlay when it is first asked for one.
type Provider struct {
	Suite    string // of Debian, the device's
	Mirror   string // URL
	Store    *layer.Store
	Archives *debian.Archives
	Disabled bool // every program runs emulated
	Log      *progress.Reporter

	overlay *Overlay
}

// Overlay returns the overlay, or nil where there are no native programs to be
// had. Without them a build is only slower.
func (p *Provider) Overlay(ctx context.Context) (chroot.NativeOverlay, error) {
	return p.from(ctx, p.Store)
}

// OverlayFor is Overlay for layers whose packages come from the mirror as it is
// now. Programs that were fetched when it had other versions are fetched again.
func (p *Provider) OverlayFor(ctx context.Context, layers []string) (chroot.NativeOverlay, error) {
	overlay, err := p.Overlay(ctx)
	if overlay == nil || err != nil {
		return nil, err
	}
	if matches, err := p.overlay.Matches(layers); matches || err != nil {
		return overlay, err
	}
	p.overlay = nil
	return p.from(ctx, p.Store.Rebuilding())
}

func (p *Provider) from(ctx context.Context, store *layer.Store) (chroot.NativeOverlay, error) {
	if p.Disabled || !Supported() {
		return nil, nil
	}
	if p.overlay == nil {
		overlay, err := p.prepare(ctx, store)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			p.Log.Printf("warning: everything runs emulated, several times slower: %v", err)
			p.Disabled = true
			return nil, nil
		}
		p.overlay = overlay
	}
	return p.overlay, nil
}

// formatVersion changes with what this program makes of the packages.
const formatVersion = "1"

const notesFile = "packages.json"

// prepare takes the overlay from the store, or makes it.
func (p *Provider) prepare(ctx context.Context, store *layer.Store) (*Overlay, error) {
	from := debian.Release{Suite: p.Suite, Arch: "amd64", Mirror: p.Mirror}
	var include []string
	for _, t := range tools() {
		include = append(append(include, t.pkg), t.needs...)
	}
	sum := sha256.Sum256(fmt.Append(nil, formatVersion, tools(), from.ExtractArgv(include, "")))
	tree, err := store.Layer(ctx, "native-"+hex.EncodeToString(sum[:]), func(ctx context.Context, d layer.Draft) error {
		ctx, span := timing.Start(ctx, "fetching native programs")
		defer span.End()
		p.Log.Printf("fetching the amd64 programs of Debian %s that will stand in for emulated ones", p.Suite)
		if err := d.Title("native programs of Debian " + p.Suite); err != nil {
			return err
		}
		system := layer.Draft{Tree: filepath.Join(d.Scratch, "debian"), Scratch: d.Scratch}
		// They are not installed, only extracted: nothing runs in there.
		if err := from.Extract(ctx, include, system, p.Archives, io.Discard); err != nil {
			return err
		}
		return assemble(ctx, system.Tree, d)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the native programs of %s from %s: %w", p.Suite, p.Mirror, err)
	}
	raw, err := os.ReadFile(filepath.Join(layer.Notes(tree), notesFile))
	if err != nil {
		return nil, err
	}
	o := &Overlay{tree: tree, log: p.Log, told: map[string]bool{}}
	return o, json.Unmarshal(raw, &o.packages)
}
