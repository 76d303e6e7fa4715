package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// The caches that builds are made with.
const (
	first    = "first" // begins empty
	second   = "second"
	emulated = "emulated"
)

// coldBuild is a build from nothing.
type coldBuild struct {
	*timing.Span
	peak      peak
	imageData int64 // bytes that the raw image takes on disk
}

// fromNothing builds with empty caches and an empty build/, once.
func (s *session) fromNothing(ctx context.Context) (*coldBuild, error) {
	if s.cold != nil {
		return s.cold, nil
	}
	if err := s.forget(); err != nil {
		return nil, err
	}
	cache := s.cache(first)
	usage := watch(cache.Layers(), string(cache), filepath.Join(s.clone, "build"), filepath.Join(s.clone, "docker-images"))
	record, err := s.build(ctx, first, false)
	peak, usageErr := usage.stop()
	if err != nil {
		return nil, err
	}
	if usageErr != nil {
		return nil, fmt.Errorf("measuring the space on disk: %w", usageErr)
	}
	img, err := s.image()
	if err != nil {
		return nil, err
	}
	data, err := allocated(img)
	s.cold = &coldBuild{record, peak, data}
	return s.cold, err
}

// withPackages builds with nothing but the package archives of the first build
// in the cache, once.
func (s *session) withPackages(ctx context.Context) (*timing.Span, error) {
	if s.archived != nil {
		return s.archived, nil
	}
	record, err := s.withPackagesOf(ctx, first, second, false)
	s.archived = record
	return record, err
}

// withPackagesOf builds with the package archives of one cache, and nothing else,
// in another.
func (s *session) withPackagesOf(ctx context.Context, from, to string, emulate bool) (*timing.Span, error) {
	if err := s.forget(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(string(s.cache(to)), 0o755); err != nil {
		return nil, err
	}
	err := os.Rename(s.cache(from).Packages(), s.cache(to).Packages())
	if err != nil {
		return nil, fmt.Errorf("handing on the package archives: %w", err)
	}
	return s.build(ctx, to, emulate)
}

// profile lists what a build from nothing spends its time on.
func profile(ctx context.Context, s *session) error {
	cold, err := s.fromNothing(ctx)
	if err != nil {
		return err
	}
	s.report.ColdBuild = cold.Span
	return nil
}

// builds measures what is saved by what earlier builds left.
func builds(ctx context.Context, s *session) error {
	cold, err := s.fromNothing(ctx)
	if err != nil {
		return err
	}
	warm, err := median(s.Runs, func() (time.Duration, error) { return s.again(ctx, first) })
	if err != nil {
		return fmt.Errorf("building with nothing changed: %w", err)
	}
	script := filepath.Join(s.clone, "packer", "scripts", "06-firstboot-service.sh")
	changed, err := median(s.Runs, func() (time.Duration, error) {
		if err := appendComment(script); err != nil {
			return 0, err
		}
		return s.again(ctx, first)
	})
	if err != nil {
		return fmt.Errorf("building with a changed script: %w", err)
	}
	archived, err := s.withPackages(ctx)
	if err != nil {
		return fmt.Errorf("building with cached packages: %w", err)
	}
	whole := seconds(cold.Wall)
	const reference, image = "cold build", "data of the raw image"
	s.report.add(
		Row{What: "cold build, package archives cached", Measured: seconds(archived.Wall), Reference: reference, Other: whole},
		Row{What: "06-firstboot-service.sh changed", Measured: seconds(changed), Reference: reference, Other: whole, Target: 0.05, Runs: s.Runs},
		Row{What: "nothing changed", Measured: seconds(warm), Reference: reference, Other: whole, Target: 0.01, Runs: s.Runs},
		Row{What: "disk at the peak of a cold build, without the layers", Measured: bytesOf(cold.peak.working),
			Reference: image, Other: bytesOf(cold.imageData), Target: 3},
		Row{What: "the layers, which the cache has a limit for", Measured: bytesOf(cold.peak.kept), Reference: image, Other: bytesOf(cold.imageData)},
		Row{What: "both at one time", Measured: bytesOf(cold.peak.all), Reference: image, Other: bytesOf(cold.imageData)},
	)
	return nil
}

func (s *session) again(ctx context.Context, cache string) (time.Duration, error) {
	record, err := s.build(ctx, cache, false)
	return record.Wall, err
}

// appendComment changes a script without changing what it does.
func appendComment(script string) error {
	text, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	return os.WriteFile(script, append(text, "# changed\n"...), 0o755)
}

// natively measures native programs against emulated ones, package archives
// cached for both.
func natively(ctx context.Context, s *session) error {
	if _, err := s.fromNothing(ctx); err != nil {
		return err
	}
	native, err := s.withPackages(ctx)
	if err != nil {
		return err
	}
	slow, err := s.withPackagesOf(ctx, second, emulated, true)
	if err != nil {
		return fmt.Errorf("building emulated: %w", err)
	}
	for _, work := range []struct {
		what    string
		matches func(string) bool
	}{
		{"all provisioners", func(name string) bool { return strings.HasPrefix(name, "provisioner ") }},
		{"bootstrap of the base image", func(name string) bool { return name == "base image" }},
	} {
		a, b := native.Find(work.matches), slow.Find(work.matches)
		if len(a) == 0 && len(b) == 0 {
			s.Log.Printf("%s: not part of a build of the profile %s", work.what, s.Profile)
			continue
		}
		s.report.add(Row{
			What: work.what + ", native programs", Measured: seconds(sum(a)),
			Reference: "the same, emulated", Other: seconds(sum(b)), Target: 0.2,
		})
	}
	return nil
}

func sum(spans []*timing.Span) time.Duration {
	var total time.Duration
	for _, s := range spans {
		total += s.Wall
	}
	return total
}
