package containerimage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	attempts   = 4
	firstDelay = time.Second // before the second attempt; then three times as long each
	// waitLimit is how long a request waits in all because the registry asks for
	// it. A longer wait is for a person to decide on.
	waitLimit = 5 * time.Minute
)

// retry calls try until it succeeds, is in vain, or has failed as often as it
// may. A registry that says when to come again is asked again then, and not
// counted.
func (r *source) retry(ctx context.Context, try func(context.Context) error) error {
	delay, waited := r.delay, time.Duration(0)
	for n := 1; ; {
		asked := new(askedToWait)
		err := try(context.WithValue(ctx, askedToWait{}, asked))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil || isFinal(err) {
			return err
		}
		wait := delay
		if asked.told && isBusy(err) {
			if wait = max(asked.wait, delay); waited+wait > waitLimit {
				return &waitError{err, asked.wait, waited}
			}
			waited += wait
			r.logf("%s asks to wait: trying again in %s: %v", asked.host, wait, err)
		} else {
			if n == attempts {
				return err
			}
			n++
			r.logf("trying again in %s: %v", wait, err)
		}
		if err := r.sleep(ctx, wait); err != nil {
			return err
		}
		delay *= 3
	}
}

// waitError is about a registry that asks to wait for longer than the limit.
type waitError struct {
	err           error
	asked, waited time.Duration
}

func (e *waitError) Error() string {
	return fmt.Sprintf("%v: it asks to wait %s, after %s so far, and the limit is %s in all", e.err, e.asked, e.waited, waitLimit)
}

func (e *waitError) Unwrap() error { return e.err }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// isFinal reports whether trying again is of no use: the registry answered,
// and meant it, no registry answered, or the disk of this machine is at fault.
func isFinal(err error) bool {
	if no := new(noRegistryError); errors.As(err, &no) {
		return true
	}
	if terr := new(transport.Error); errors.As(err, &terr) {
		return terr.StatusCode == http.StatusNetworkAuthenticationRequired ||
			!terr.Temporary() && terr.StatusCode < 500 && terr.StatusCode != http.StatusTooManyRequests
	}
	return isLocal(err)
}

// isBusy reports whether the registry has refused for now.
func isBusy(err error) bool {
	terr := new(transport.Error)
	return errors.As(err, &terr) && isBusyStatus(terr.StatusCode)
}

func isBusyStatus(code int) bool {
	return code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable
}

// askedToWait is what a registry has said of when to come again. It is in the
// context of the requests, since what they fail with does not have the header.
type askedToWait struct {
	told bool
	host string
	wait time.Duration
}

// listener notes what answers say of when to come again.
type listener struct{ http.RoundTripper }

func (l listener) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(req)
	if asked, ok := req.Context().Value(askedToWait{}).(*askedToWait); ok && err == nil && isBusyStatus(resp.StatusCode) {
		asked.wait, asked.told = retryAfter(resp.Header.Get("Retry-After"), time.Now())
		asked.host = req.URL.Host
	}
	return resp, err
}

// retryAfter reads a Retry-After header: seconds or a date (RFC 9110, 10.2.3).
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now).Round(time.Second)), true
	}
	return 0, false
}
