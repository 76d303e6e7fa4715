package boottest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// DeviceOptions say which real device to ask, and what.
type DeviceOptions struct {
	Target Target
	Where  string // as in cubeos@192.0.2.1:22
	// Version and Profile are what has to be on the device; "" is any.
	Version, Profile string
	Settings         Settings
	Services         services.List // those on the device
	WorkDir          string        // keeps the evidence of the last run, a directory a scenario
	Scenarios        []Scenario
	// Named reports whether a scenario was asked for by its name, so that it is played
	// also if it is not harmless.
	Named    func(scenario string) bool
	Reporter *progress.Reporter // nil shows nothing
}

// Hardware is a real device as it describes itself.
type Hardware struct {
	Where      string `json:"where"`
	Model      string `json:"model"`
	MemoryMiB  int    `json:"memory_mib"`
	Firmware   string `json:"firmware,omitempty"`   // of the GPU, as vcgencmd tells it
	Bootloader string `json:"bootloader,omitempty"` // of the EEPROM: when it was built
	Version    string `json:"version"`
	Profile    string `json:"profile"`
}

// selfDescription is what describe prints.
type selfDescription struct {
	Hardware
	Kernel   string            `json:"kernel"`
	Services []json.RawMessage `json:"services"` // the one list
}

// describe needs root. What only some models tell may be empty.
const describe = `set -e
. /etc/cubeos-release
model=$(tr -d '\000' </proc/device-tree/model) || model='without a device tree'
firmware=$(vcgencmd version 2>/dev/null | grep -v Copyright | xargs) || firmware=
built=/proc/device-tree/chosen/bootloader/build-timestamp bootloader=
if [ -e $built ]; then bootloader=$(date -u -d "@$(printf %d "0x$(od -An -v -t x1 $built | tr -d ' \n')")" '+%F %T'); fi
memory=$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)
jq -n --arg model "$model" --argjson memory_mib "$memory" --arg firmware "$firmware" --arg bootloader "$bootloader" --arg kernel "$(uname -r)" \
  --arg version "$CUBEOS_VERSION" --arg profile "$CUBEOS_PROFILE" --slurpfile services /usr/local/share/cubeos/services.json '$ARGS.named'`

// askBound is for one question that every device answers.
const askBound = 2 * time.Minute

// OnDevice puts a real device through scenarios, as far as it can be asked. The report
// is there also when one failed; the error then says what failed.
func OnDevice(ctx context.Context, o DeviceOptions) (_ *Report, err error) {
	if err := os.MkdirAll(o.WorkDir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lockWorkDir(o.WorkDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	self, err := o.describe(ctx)
	if err != nil {
		return nil, err
	}
	if err := sweep(o.WorkDir, o.Reporter); err != nil {
		return nil, err
	}
	report := &Report{Hardware: &self.Hardware, Kernel: KernelReport{Own: self.Kernel}, Started: time.Now()}
	o.Reporter.Printf("%s", report.Hardware)
	for _, sc := range o.Scenarios {
		report.Scenarios = append(report.Scenarios, o.play(ctx, sc, report))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	report.Took = time.Since(report.Started)
	errs := []error{report.save(o.WorkDir)}
	if !report.Passed() {
		errs = append(errs, fmt.Errorf("the boot proof on hardware failed:\n%s", strings.TrimRight(report.Failures(), "\n")))
	}
	return report, errors.Join(errs...)
}

// describe asks the device what it is and makes sure that it is what it should be.
func (o DeviceOptions) describe(ctx context.Context) (*selfDescription, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askBound, fmt.Errorf("no answer within %s", askBound))
	defer cancel()
	if _, err := o.Target.Run(ctx, "true"); err != nil {
		return nil, fmt.Errorf("%s can not be asked: %w", o.Where, err)
	}
	out, err := o.Target.Run(ctx, describe)
	if exit := new(remote.ExitError); errors.As(err, &exit) {
		return nil, fmt.Errorf("asking %s what it is: %s; is there CubeOS on it?", o.Where, exit.Stderr)
	}
	if err != nil {
		return nil, fmt.Errorf("asking %s what it is: %w", o.Where, err)
	}
	self := selfDescription{Hardware: Hardware{Where: o.Where}}
	if err := json.Unmarshal([]byte(out), &self); err != nil {
		return nil, fmt.Errorf("asking %s what it is: %w in %q", o.Where, err, out)
	}
	if err := o.compare(&self); err != nil {
		return nil, fmt.Errorf("%s is not what it is to be asked as:\n%w", o.Where, err)
	}
	return &self, nil
}

func (o DeviceOptions) compare(self *selfDescription) error {
	var problems []error
	if o.Version != "" && self.Version != o.Version {
		problems = append(problems, fmt.Errorf("it has CubeOS %s, and this is %s: check out what it was built from, or say -version=%s", self.Version, o.Version, self.Version))
	}
	if o.Profile != "" && self.Profile != o.Profile {
		problems = append(problems, fmt.Errorf("it was built with the profile %s, not with %s: say -profile=%s", self.Profile, o.Profile, self.Profile))
	}
	if len(self.Services) != 1 {
		return errors.Join(append(problems, errors.New("it has no list of services"))...)
	}
	list, err := services.Parse(self.Services[0])
	switch {
	case err != nil:
		problems = append(problems, fmt.Errorf("its list of services: %w", err))
	case !slices.Equal(list.Names(), o.Services.Names()):
		problems = append(problems, fmt.Errorf("it has the services %s, and the profile has %s", strings.Join(list.Names(), ", "), strings.Join(o.Services.Names(), ", ")))
	default:
		for i, s := range list {
			if !reflect.DeepEqual(s, o.Services[i]) {
				problems = append(problems, fmt.Errorf("its list of services says otherwise of %s than %s does", s.Name, services.File))
			}
		}
	}
	return errors.Join(problems...)
}

// play plays as much of a scenario as a real device can be asked. The rest is in the
// outcome with the reason.
func (o DeviceOptions) play(ctx context.Context, sc Scenario, report *Report) *Outcome {
	out := &Outcome{Scenario: sc.Name, About: sc.About, Started: time.Now(), Machine: report.Hardware.String()}
	defer func() { out.Took = time.Since(out.Started) }()
	phases, why := sc.OnHardware()
	if len(phases) > 0 && !sc.Harmless && !o.Named(sc.Name) {
		phases, why = nil, "it changes the device: -scenario="+sc.Name+" plays it"
	}
	if len(phases) == 0 {
		out.unavailable(sc.Phases, why)
		return out
	}
	past, err := o.firstBootPast(ctx)
	if err != nil {
		out.broken(sc.Phases, err)
		return out
	}
	subject := &Subject{
		Target: o.Target, Alive: context.WithoutCancel(ctx), Settings: o.Settings, FirstBootPast: past,
		Dir: filepath.Join(o.WorkDir, sc.Name),
	}
	if err := os.MkdirAll(subject.Dir, 0o755); err != nil {
		out.broken(sc.Phases, err)
		return out
	}
	bounded, cancel := context.WithTimeoutCause(ctx, lifeBound, fmt.Errorf("not done within %s", lifeBound))
	defer cancel()
	r := runner{log: o.Reporter, label: sc.Name + ": ", show: new(atomic.Pointer[progress.Task]), out: out}
	for _, p := range phases {
		passed := r.phase(bounded, subject, p)
		collect(ctx, subject, p.Name, passed, o.Reporter)
	}
	out.skip(sc.Phases[len(phases):], why)
	return out
}

// firstBootPast asks a device that may be starting whether this is its first boot, or
// another one.
func (o DeviceOptions) firstBootPast(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askBound, fmt.Errorf("no answer within %s", askBound))
	defer cancel()
	mode, err := o.Target.Run(ctx, "cat /run/cubeos/boot-mode 2>/dev/null || { ! test -e /var/lib/cubeos/first-boot-complete || echo normal; }")
	if err != nil {
		return false, fmt.Errorf("asking for the boot mode: %w", err)
	}
	return mode == "normal", nil
}

// String is one line for people.
func (h *Hardware) String() string {
	said := []string{h.Model, fmt.Sprintf("%d MiB memory", h.MemoryMiB)}
	if h.Firmware != "" {
		said = append(said, "firmware "+h.Firmware)
	}
	if h.Bootloader != "" {
		said = append(said, "bootloader of "+h.Bootloader)
	}
	return "HARDWARE: " + strings.Join(said, ", ") + ", at " + h.Where
}

func (h *Hardware) table(b *strings.Builder, kernel string) {
	fmt.Fprintf(b, "Boot proof of CubeOS %s, profile %s\n%s\nkernel: %s\n", h.Version, h.Profile, h, kernel)
}

// mark tells a suite of a real device from that of an emulated one.
func (h *Hardware) mark(suite *junitSuite, kernel string) {
	suite.Name = "hardware: " + suite.Name
	for i := range suite.Cases {
		suite.Cases[i].Class = "hardware." + suite.Cases[i].Class
	}
	suite.Properties = &junitProperties{}
	for _, p := range []junitProperty{
		{"device", h.Where}, {"model", h.Model}, {"firmware", h.Firmware}, {"bootloader", h.Bootloader}, {"kernel", kernel},
		{"version", h.Version}, {"profile", h.Profile},
	} {
		if p.Value != "" {
			suite.Properties.All = append(suite.Properties.All, p)
		}
	}
}
