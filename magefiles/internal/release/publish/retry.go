package publish

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/go-github/v93/github"
	gitlab "gitlab.com/gitlab-org/api/client-go/v2"
)

const (
	tries = 6
	// longestWait is how long a server may ask to be left alone: GitHub's limits
	// last up to an hour.
	longestWait = time.Hour
)

// passing is an error that may be gone when the same is tried again.
type passing struct{ error }

func (e passing) Unwrap() error { return e.error }

// statusError is an answer other than the file that was asked for.
type statusError struct {
	url      string
	response *http.Response
}

func (e *statusError) Error() string { return e.url + ": the server answered " + e.response.Status }

// try does a step until it succeeds or fails in a way that trying again does not
// mend. Every step first looks at what is there, so that doing it again goes on
// where it was cut off.
func (p *Plan) try(ctx context.Context, what string, step func(context.Context) error) error {
	for n := 1; ; n++ {
		err := step(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
		wait, again := mayPass(err, time.Second<<(n-1))
		if !again || wait > longestWait || n == tries {
			return fmt.Errorf("%s: %w", what, err)
		}
		p.o.Log.Printf("%s: %v; trying again in %s, %d of %d", what, err, wait.Round(time.Second), n+1, tries)
		if err := p.o.Wait(ctx, wait); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// sleep waits for as long as ctx lets it.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// mayPass says whether trying again may help, and after how long: usually, or as
// long as the server asks for.
func mayPass(err error, usually time.Duration) (time.Duration, bool) {
	if _, ok := errors.AsType[passing](err); ok {
		return usually, true
	}
	if code, header := answer(err); code != 0 {
		limited := code == http.StatusTooManyRequests || isRateLimit(err)
		return asked(header, usually), limited || code >= http.StatusInternalServerError
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return 0, false
	}
	_, ofConnection := errors.AsType[*url.Error](err)
	return usually, ofConnection || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errStalled)
}

// answer is the status and the header of the answer that err is about, 0 if it is
// about none.
func answer(err error) (int, http.Header) {
	var r *http.Response
	if e, ok := errors.AsType[*github.ErrorResponse](err); ok {
		r = e.Response
	} else if e, ok := errors.AsType[*github.RateLimitError](err); ok {
		r = e.Response
	} else if e, ok := errors.AsType[*github.AbuseRateLimitError](err); ok {
		r = e.Response
	} else if e, ok := errors.AsType[*statusError](err); ok {
		r = e.response
	} else if e, ok := errors.AsType[*gitlab.ErrorResponse](err); ok {
		if e.Response == nil {
			return e.StatusCode, nil
		}
		r = e.Response
	}
	if r == nil {
		return 0, nil
	}
	return r.StatusCode, r.Header
}

func isStatus(err error, codes ...int) bool {
	code, _ := answer(err)
	return slices.Contains(codes, code)
}

func isRateLimit(err error) bool {
	_, primary := errors.AsType[*github.RateLimitError](err)
	_, secondary := errors.AsType[*github.AbuseRateLimitError](err)
	return primary || secondary
}

// asked is how long the server asks to be left alone.
func asked(header http.Header, usually time.Duration) time.Duration {
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if header.Get("X-Ratelimit-Remaining") == "0" {
		if at, err := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
			return max(usually, time.Until(time.Unix(at, 0)))
		}
	}
	return usually
}
