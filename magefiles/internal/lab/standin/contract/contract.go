// Package contract has the requests that a stand-in has to answer as the real
// service does. The same requests run against either.
package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Step is one request and what has to come back.
type Step struct {
	Name   string
	Method string // empty is GET
	Path   string
	Header map[string]string
	Body   string // JSON
	Status int
	// Want is JSON that the answer has to contain: objects may have more members,
	// lists may not have more elements. The string "<any>" stands for any value
	// but null, and "<NAME>" for one that later steps get where they write {NAME}.
	Want string
	// Text has to be in the answer, for answers that are no JSON.
	Text string
}

// Suite is the contract of one service. A real service is left as it was found,
// as far as its steps succeed.
type Suite struct {
	Service string
	// Login is USER:PASSWORD of a device whose owner has not changed them; ${NAME}
	// stands for a variable of its secrets.env.
	Login string
	Steps []Step
}

// Suites returns the contracts, one a service.
func Suites() []Suite {
	return []Suite{pihole(), npm(), hal(), api(), dashboard()}
}

// For returns the contract of a service.
func For(service string) (Suite, error) {
	suites := Suites()
	at := slices.IndexFunc(suites, func(s Suite) bool { return s.Service == service })
	if at < 0 {
		return Suite{}, fmt.Errorf("there is no contract of a service %q", service)
	}
	return suites[at], nil
}

// Check makes the requests, in their order, of the service at base, whose user
// and password are {user} and {password} in the requests. transport is how it is
// reached, nil is by this machine's network. It goes on after a step that failed;
// the error joins all of them.
func (s Suite) Check(ctx context.Context, base *url.URL, transport http.RoundTripper) error {
	values := map[string]string{"user": base.User.Username()}
	values["password"], _ = base.User.Password()
	root := *base
	root.User = nil
	client := &http.Client{
		Transport: transport,
		Timeout:   time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	var problems []error
	for _, step := range s.Steps {
		if err := step.check(ctx, client, strings.TrimRight(root.String(), "/"), values); err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", s.Service, step.Name, err))
		}
	}
	return errors.Join(problems...)
}

func (s Step) check(ctx context.Context, client *http.Client, base string, values map[string]string) error {
	pairs := []string{}
	escaped := []string{}
	for name, value := range values {
		inJSON, err := json.Marshal(value)
		if err != nil {
			return err
		}
		pairs = append(pairs, "{"+name+"}", strings.Trim(string(inJSON), `"`))
		escaped = append(escaped, "{"+name+"}", value)
	}
	inBody, inHeader := strings.NewReplacer(pairs...), strings.NewReplacer(escaped...)
	method := s.Method
	if method == "" {
		method = http.MethodGet
	}
	status, body, err := ask(ctx, client, method, base+inHeader.Replace(s.Path), inBody.Replace(s.Body), func(r *http.Request) {
		for name, value := range s.Header {
			r.Header.Set(name, inHeader.Replace(value))
		}
	})
	if err != nil {
		return err
	}
	if status != s.Status {
		return fmt.Errorf("%s %s answered %d, not %d: %s", method, s.Path, status, s.Status, body)
	}
	if !strings.Contains(string(body), inBody.Replace(s.Text)) {
		return fmt.Errorf("%s %s: %q is not in the answer %s", method, s.Path, s.Text, body)
	}
	if s.Want == "" {
		return nil
	}
	var want, got any
	if err := json.Unmarshal([]byte(inBody.Replace(s.Want)), &want); err != nil {
		return fmt.Errorf("what is wanted is no JSON: %w", err)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("the answer is no JSON: %w: %s", err, body)
	}
	if err := contains(got, want, "$", values); err != nil {
		return fmt.Errorf("%s %s: %w in %s", method, s.Path, err, body)
	}
	return nil
}

func ask(ctx context.Context, client *http.Client, method, target, body string, prepare func(*http.Request)) (int, []byte, error) {
	var last error
	// A service that restarts itself after a change is away for a moment.
	for range 40 {
		req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		prepare(req)
		resp, err := client.Do(req)
		if err == nil {
			defer resp.Body.Close()
			var buf bytes.Buffer
			if _, err = io.Copy(&buf, io.LimitReader(resp.Body, 1<<20)); err == nil {
				return resp.StatusCode, buf.Bytes(), nil
			}
		}
		last = err
		select {
		case <-ctx.Done():
			return 0, nil, errors.Join(last, ctx.Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
	return 0, nil, last
}

// contains returns an error unless got has everything that want has.
func contains(got, want any, at string, values map[string]string) error {
	switch want := want.(type) {
	case string:
		if name, ok := strings.CutPrefix(want, "<"); ok && strings.HasSuffix(name, ">") {
			if got == nil {
				return fmt.Errorf("%s is missing", at)
			}
			if name = strings.TrimSuffix(name, ">"); name != "any" {
				values[name] = fmt.Sprint(got)
			}
			return nil
		}
	case map[string]any:
		return containsMembers(got, want, at, values)
	case []any:
		elements, ok := got.([]any)
		if !ok || len(elements) != len(want) {
			return fmt.Errorf("%s is no list of %d elements", at, len(want))
		}
		var problems []error
		for i := range want {
			problems = append(problems, contains(elements[i], want[i], fmt.Sprintf("%s[%d]", at, i), values))
		}
		return errors.Join(problems...)
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s is %v, not %v,", at, got, want)
	}
	return nil
}

func containsMembers(got any, want map[string]any, at string, values map[string]string) error {
	object, ok := got.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is no object", at)
	}
	var problems []error
	for name, value := range want {
		member, there := object[name]
		if !there {
			problems = append(problems, fmt.Errorf("%s.%s is missing", at, name))
			continue
		}
		problems = append(problems, contains(member, value, at+"."+name, values))
	}
	return errors.Join(problems...)
}
