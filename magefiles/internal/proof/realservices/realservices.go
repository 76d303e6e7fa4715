// Package realservices asks the services' own images what the stand-ins' contract
// has. They run in a Docker daemon as on a device that starts for the first time,
// without a network beyond it: a container stands for the device, and what shares
// the device's network or processes shares that container's.
package realservices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/contract"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Options say what is asked, and what it is given.
type Options struct {
	Root      string // of the checkout
	Services  services.List
	Images    string            // directory with their archives, as containerimage.Download leaves it
	Variables map[string]string // that the recipe gives to its provisioners
	Version   string            // of the device's system
	Epoch     time.Time         // its SOURCE_DATE_EPOCH
	WorkDir   string            // an empty directory
	Lock      string            // a file of this machine that is locked for as long as this runs
	Log       *progress.Reporter

	suite    func(service string) (contract.Suite, error)
	patience time.Duration
}

// Patience is how long a service has until it answers: an emulated one takes long.
const Patience = 10 * time.Minute

// undoWithin is how long there is to clear away what was made.
const undoWithin = 2 * time.Minute

// Result is what one service has answered.
type Result struct {
	Service, Image string
	Requests       int
	Problems       []error // the service did not start, or differs
	NoContract     bool    // it answers; nobody has written down what else it does
}

// Results are those of all services, in the order in which they start.
type Results []Result

// Run starts all services and asks each. The error is of what kept this from being
// done; what the services are at fault for is in the results. Nothing it has made
// is left in the daemon.
func Run(ctx context.Context, o Options) (results Results, err error) {
	o.patience = cmp.Or(o.patience, Patience)
	if o.suite == nil {
		o.suite = contract.For
	}
	docker, err := dockerd.Connect(ctx)
	if err != nil {
		return nil, err
	}
	r := &run{Options: o, docker: docker, id: runID(o.Lock)}
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWithin)
		defer cancel()
		err = errors.Join(err, r.clear(undo), docker.Close())
	}()
	if err := r.clear(ctx); err != nil { // of a run that was killed
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	for _, s := range o.Services {
		result, err := r.try(ctx, s)
		if err != nil {
			return results, err
		}
		results = append(results, result)
	}
	return results, nil
}

// try starts a service and asks it.
func (r *run) try(ctx context.Context, s services.Service) (Result, error) {
	task := r.Log.Task("starting "+s.Title, 0)
	defer task.End()
	made, err := r.start(ctx, s)
	result := Result{Service: s.Name, Image: made.image}
	switch {
	case ctx.Err() != nil:
		return result, context.Cause(ctx)
	case dockerd.Unreachable(err):
		return result, fmt.Errorf("starting %s: %w", s.Name, err)
	case err != nil:
		result.Problems = []error{fmt.Errorf("%s: %w", s.Name, err)}
		return result, nil
	}
	transport := &http.Transport{DialContext: dialer{r.docker, r.holder}.DialContext}
	defer transport.CloseIdleConnections()
	if err := r.await(ctx, made, transport, s.HTTP.Health); ctx.Err() != nil {
		return result, context.Cause(ctx)
	} else if err != nil {
		result.Problems = []error{err}
		return result, nil
	}
	suite, err := r.suite(s.Name)
	if err != nil {
		result.NoContract = true
		return result, nil
	}
	task.Note("asking")
	result.Requests = len(suite.Steps)
	base := *made.base
	user, password, _ := strings.Cut(suite.Login, ":")
	base.User = url.UserPassword(r.expand(user), r.expand(password))
	err = suite.Check(ctx, &base, transport)
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	result.Problems = parts(err)
	return result, nil
}

func (r *run) expand(text string) string {
	return os.Expand(text, func(name string) string { return r.device.settings[name] })
}

// parts are the errors that one joins.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func (r Result) verdict() string {
	switch {
	case r.NoContract:
		return "answers; it has no contract"
	case len(r.Problems) == 0:
		return fmt.Sprintf("as its contract says, in %d requests", r.Requests)
	case r.Requests == 0:
		return "DOES NOT START"
	}
	return fmt.Sprintf("DIFFERS in %d of %d requests", len(r.Problems), r.Requests)
}

// Write writes a table, a line each service.
func (r Results) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tIMAGE\tRESULT")
	for _, result := range r {
		fmt.Fprintf(t, "%s\t%s\t%s\n", result.Service, result.Image, result.verdict())
	}
	return t.Flush()
}

// Err holds every problem of every service, or is nil.
func (r Results) Err() error {
	var problems []error
	var names []string
	for _, result := range r {
		if len(result.Problems) > 0 {
			names = append(names, result.Service)
		}
		problems = append(problems, result.Problems...)
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%s: not as the contract says; where the real service has changed, change what is expected, the stand-in and what the device relies on:\n%w", strings.Join(names, ", "), errors.Join(problems...))
}
