// Package services reads the one list of the services that run on a device. The
// image ships the list, and the boot scripts read it there; here it tells the
// build which container images to ship and the boot proof what has to answer.
package services

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Where things are in the checkout; on the device they are the same below the
// root directory.
const (
	RootFS   = "configs/rootfs"
	File     = RootFS + "/usr/local/share/cubeos/services.json"
	apps     = RootFS + "/cubeos/coreapps"    // a directory a service
	composed = "appconfig/docker-compose.yml" // in it: how Docker runs the service
)

// Kind is how a service is run.
type Kind string

// The kinds, in the order in which they are started.
const (
	Compose Kind = "compose" // containers of their own, by docker compose
	Stack   Kind = "stack"   // tasks of the device's Swarm, by docker stack deploy
)

// Reach is who can connect to a port.
type Reach string

const (
	Device  Reach = "device"  // only programs of the device: it listens on the loopback address
	Blocked Reach = "blocked" // the same, but it listens on every address, and our firewall keeps others out
	Network Reach = "network" // whoever is on a network that the device is on
)

// Service is a row of the list.
type Service struct {
	// Name is the service's one name: of its line in skopeo/images.txt, its
	// archive, its directory below /cubeos/coreapps, its compose project or its
	// stack, and the service in that. The API knows it by this name.
	Name     string `json:"name"`
	Title    string `json:"title"` // for people
	Kind     Kind   `json:"kind"`
	Optional bool   `json:"optional,omitempty"` // only in profiles that ask for it
	HTTP     HTTP   `json:"http"`
	Ports    []Port `json:"ports"`
}

// HTTP is where a service answers to requests.
type HTTP struct {
	Port   int    `json:"port"`
	Health string `json:"health"` // a path; an answer below 400 is a healthy one
	// Names lead to Port by the proxy; {domain} and {address} stand for the
	// device's.
	Names []string `json:"names,omitempty"`
}

// Port is one that a service listens on.
type Port struct {
	Port      int      `json:"port"`
	Target    int      `json:"target,omitempty"` // in the container, where Docker publishes the port; 0 if the service uses the host's network
	Protocols []string `json:"protocols"`        // tcp, udp
	Reach     Reach    `json:"reach"`
	About     string   `json:"about"`
}

// Container is the port as the container has it.
func (p Port) Container() int {
	if p.Target != 0 {
		return p.Target
	}
	return p.Port
}

// ComposeFile is how Docker runs the service, a path below the device's root
// directory.
func (s Service) ComposeFile() string {
	return strings.TrimPrefix(path.Join(apps, s.Name, composed), RootFS+"/")
}

// SwarmService is the name that Swarm gives to the service of a stack.
func (s Service) SwarmService() string { return s.Name + "_" + s.Name }

// ContainerName is what the container of a compose service is called. The API
// looks for these names.
func (s Service) ContainerName() string { return "cubeos-" + strings.TrimPrefix(s.Name, "cubeos-") }

// WebPort is the one of its ports at which it answers to requests.
func (s Service) WebPort() Port {
	i := slices.IndexFunc(s.Ports, s.isWeb)
	if i < 0 {
		return Port{}
	}
	return s.Ports[i]
}

func (s Service) isWeb(p Port) bool {
	return p.Port == s.HTTP.Port && slices.Contains(p.Protocols, "tcp")
}

// Hosts are the names that lead to the service on a device of that domain and
// address.
func (s Service) Hosts(domain, address string) []string {
	var hosts []string
	for _, name := range s.HTTP.Names {
		hosts = append(hosts, strings.NewReplacer("{domain}", domain, "{address}", address).Replace(name))
	}
	return hosts
}

// HealthURL is asked on the device.
func (s Service) HealthURL() string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", s.HTTP.Port, s.HTTP.Health)
}

// List is the services of a profile, in the order in which they start.
type List []Service

// Read reads the whole list of a checkout. The error holds every problem found.
func Read(root string) (List, error) {
	name := filepath.Join(root, File)
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the list of services: %w", err)
	}
	l, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// Parse reads a list, be it a checkout's or a device's. The error holds every problem
// found.
func Parse(data []byte) (List, error) {
	var file struct {
		Services List `json:"services"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	return file.Services, file.Services.validate()
}

// CheckFiles makes sure that every service has its compose file, and that there
// is none without a service.
func (l List) CheckFiles(root string) error {
	var problems []error
	for _, s := range l {
		file := path.Join(apps, s.Name, composed)
		if info, err := os.Stat(filepath.Join(root, file)); err != nil || info.Size() == 0 {
			problems = append(problems, fmt.Errorf("%s is missing or empty: it says how Docker runs the service %s of %s", file, s.Name, File))
		}
	}
	entries, err := os.ReadDir(filepath.Join(root, apps))
	if err != nil {
		problems = append(problems, fmt.Errorf("looking for services: %w", err))
	}
	for _, e := range entries {
		if _, ok := l.Named(e.Name()); !ok {
			problems = append(problems, fmt.Errorf("%s is of no service: %s does not list %s", path.Join(apps, e.Name()), File, e.Name()))
		}
	}
	return errors.Join(problems...)
}

// For returns the services of a profile that asks for the optional ones named.
func (l List) For(optional []string) (List, error) {
	var problems []error
	for i, name := range optional {
		s, ok := l.Named(name)
		switch {
		case !ok || !s.Optional:
			problems = append(problems, fmt.Errorf("%q is no optional service of %s, which has %s", name, File, orNone(l.names(func(s Service) bool { return s.Optional }))))
		case slices.Contains(optional[:i], name):
			problems = append(problems, fmt.Errorf("%q is named twice", name))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	var chosen List
	for _, s := range l {
		if !s.Optional || slices.Contains(optional, s.Name) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// Named returns the service of a name.
func (l List) Named(name string) (Service, bool) {
	i := slices.IndexFunc(l, func(s Service) bool { return s.Name == name })
	if i < 0 {
		return Service{}, false
	}
	return l[i], true
}

// Of returns the services of a kind.
func (l List) Of(kind Kind) List {
	var of List
	for _, s := range l {
		if s.Kind == kind {
			of = append(of, s)
		}
	}
	return of
}

// Names returns the services' names.
func (l List) Names() []string { return l.names(func(Service) bool { return true }) }

func (l List) names(which func(Service) bool) []string {
	var names []string
	for _, s := range l {
		if which(s) {
			names = append(names, s.Name)
		}
	}
	return names
}

func orNone(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }

var (
	validName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	validPath = regexp.MustCompile(`^/[!-~]*$`)
	validHost = regexp.MustCompile(`^(\{address\}|([a-z0-9-]+\.)*\{domain\})$`)
)

func (l List) validate() error {
	var problems []error
	if len(l) == 0 {
		problems = append(problems, errors.New("it lists no service"))
	}
	taken := map[string]string{} // what may be given once only: by whom it is
	for i, s := range l {
		bad := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("service %d, %q: %s", i+1, s.Name, fmt.Sprintf(format, args...)))
		}
		claim := func(what string) {
			if other, ok := taken[what]; ok {
				bad("%s is %s's, too", what, other)
			}
			taken[what] = s.Name
		}
		s.validate(bad, claim)
		if i > 0 && s.Kind == Compose && l[i-1].Kind == Stack {
			bad("it is run by compose and so has to be before the stacks: the order is that of starting")
		}
	}
	return errors.Join(problems...)
}

func (s Service) validate(bad func(string, ...any), claim func(string)) {
	if !validName.MatchString(s.Name) {
		bad("its name has to be of a-z and 0-9, with single hyphens inside")
	}
	claim("the name " + s.Name)
	if s.Title == "" {
		bad("it has no title")
	}
	if s.Kind != Compose && s.Kind != Stack {
		bad("kind %q is neither compose nor stack", s.Kind)
	}
	for _, p := range s.Ports {
		p.validate(bad, claim)
	}
	if !slices.ContainsFunc(s.Ports, s.isWeb) {
		bad("http.port %d is none of its TCP ports", s.HTTP.Port)
	}
	if !validPath.MatchString(s.HTTP.Health) {
		bad("http.health %q is no path", s.HTTP.Health)
	}
	for _, name := range s.HTTP.Names {
		if !validHost.MatchString(name) {
			bad("http.names: %q is neither {address} nor a name that ends in {domain}", name)
		}
		claim("the name " + name)
	}
}

func (p Port) validate(bad func(string, ...any), claim func(string)) {
	for _, number := range []int{p.Port, p.Container()} {
		if number < 1 || number > 65535 {
			bad("port %d is not between 1 and 65535", number)
		}
	}
	if len(p.Protocols) == 0 {
		bad("port %d has no protocol", p.Port)
	}
	for _, protocol := range p.Protocols {
		if protocol != "tcp" && protocol != "udp" {
			bad("port %d: protocol %q is neither tcp nor udp", p.Port, protocol)
		}
		claim(fmt.Sprintf("port %d/%s", p.Port, protocol))
	}
	if p.Reach != Device && p.Reach != Blocked && p.Reach != Network {
		bad("port %d: reach %q is none of device, blocked and network", p.Port, p.Reach)
	}
	if p.Reach != Network && p.Target != 0 {
		bad("port %d: Docker publishes ports of Swarm's services on every address, and past our firewall, so its reach is network", p.Port)
	}
	if p.About == "" {
		bad("port %d does not say what it is for", p.Port)
	}
}
