package pihole

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/google/renameio/v2"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// config is the settings and which of them the environment decides.
type config struct {
	values map[string]any // by the item's key; see item.fallback
	forced map[string]bool
	broken bool   // the file is no TOML, and nothing of it is read
	extra  string // the directory of dnsmasq's files that misc.etc_dnsmasq_d is about
}

func defaults() *config {
	c := &config{values: map[string]any{}, forced: map[string]bool{}}
	for _, i := range items() {
		c.values[i.key] = i.zero()
	}
	return c
}

func (c *config) clone() *config {
	return &config{values: maps.Clone(c.values), forced: maps.Clone(c.forced), extra: c.extra}
}

func (c *config) flag(key string) bool     { return c.values[key].(bool) }
func (c *config) number(key string) int64  { return c.values[key].(int64) }
func (c *config) text(key string) string   { return c.values[key].(string) }
func (c *config) list(key string) []string { return c.values[key].([]string) }

// addr returns an IPv4 address, which is 0.0.0.0 if it is not set.
func (c *config) addr(key string) netip.Addr {
	addr, err := netip.ParseAddr(c.text(key))
	if err != nil {
		return netip.IPv4Unspecified()
	}
	return addr
}

// load reads the settings as FTL does when it starts: the file, then the
// environment over it. What the environment decided the last time and does not
// any more goes back to its default.
func load(path string, env service.Env) (*config, error) {
	c := defaults()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the settings: %w", err)
	}
	if err := c.decode(data); err != nil {
		log.Printf("ERROR: %s: %v; using the defaults", path, err)
		c = defaults()
		c.broken = true
	}
	c.extra = filepath.Join(filepath.Dir(path), "../dnsmasq.d")
	c.release(string(data), env)
	c.force(env)
	return c, nil
}

// decode takes over what the file sets. An item of the wrong type is left out,
// as is one that FTL does not have.
func (c *config) decode(data []byte) error {
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		return err
	}
	for _, i := range items() {
		raw, ok := find(tree, i.key)
		if !ok || i.typ == password {
			continue
		}
		value, err := i.fromTOML(raw)
		if err == nil {
			err = i.valid(value)
		}
		if err != nil {
			log.Printf("ERROR: pihole.toml: %s: %v; using the default", i.key, err)
			continue
		}
		c.values[i.key] = value
	}
	return nil
}

func find(tree map[string]any, key string) (any, bool) {
	path := strings.Split(key, ".")
	for _, name := range path[:len(path)-1] {
		var ok bool
		if tree, ok = tree[name].(map[string]any); !ok {
			return nil, false
		}
	}
	value, ok := tree[path[len(path)-1]]
	return value, ok
}

func variable(key string) string { return "FTLCONF_" + strings.ReplaceAll(key, ".", "_") }

// variables returns those of FTL's variables that are set, by their name in
// lower case: FTL compares them without case.
func variables(env service.Env) map[string]string {
	set := map[string]string{}
	for name, value := range env {
		if strings.HasPrefix(name, "FTLCONF_") {
			set[strings.ToLower(name)] = value
		}
	}
	return set
}

var forcedBefore = regexp.MustCompile(`(?m)^#   - (\S+)$`)

func (c *config) release(file string, env service.Env) {
	_, footer, _ := strings.Cut(file, "forced through environment:")
	set := variables(env)
	for _, match := range forcedBefore.FindAllStringSubmatch(footer, -1) {
		for _, i := range items() {
			if _, still := set[strings.ToLower(variable(i.key))]; i.key == match[1] && !still {
				log.Printf("Resetting %s to default (not forced anymore)", i.key)
				c.values[i.key] = i.zero()
			}
		}
	}
}

func (c *config) force(env service.Env) {
	set := variables(env)
	for _, i := range items() {
		name := strings.ToLower(variable(i.key))
		raw, ok := set[name]
		if !ok {
			continue
		}
		delete(set, name)
		if i.typ == password {
			c.forced[i.key] = true
			c.setPassword(raw)
			continue
		}
		value, err := i.fromEnv(raw)
		if err != nil {
			log.Printf("ERROR: %s: %q %v; using the default", variable(i.key), raw, err)
			value = i.zero()
		} else if err := i.valid(value); err != nil {
			log.Printf("ERROR: %s: %v; left out", variable(i.key), err)
			continue
		}
		c.values[i.key], c.forced[i.key] = value, true
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !strings.HasPrefix(name, "ftlconf_debug_") {
			log.Printf("WARNING: %s is no setting of FTL", name)
		}
	}
}

// setPassword leaves a hash alone that is this password's, so that sessions
// and the file survive a restart.
func (c *config) setPassword(plain string) {
	if plain == "" {
		c.values["webserver.api.pwhash"] = ""
	} else if right, _ := verify(plain, c.text("webserver.api.pwhash")); !right {
		c.values["webserver.api.pwhash"] = hash(plain)
	}
}

func (i item) fromEnv(raw string) (any, error) {
	switch i.typ {
	case boolean:
		switch strings.ToLower(raw) {
		case "true", "yes":
			return true, nil
		case "false", "no":
			return false, nil
		}
		return nil, errors.New("is not a boolean")
	case integer, unsigned, unsigned16:
		n, err := strconv.ParseInt(strings.TrimSpace(raw), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("is not of type %s", i.typ)
		}
		return i.inRange(n)
	case double:
		f, err := strconv.ParseFloat(raw, 64)
		if err != nil {
			return nil, errors.New("is not a floating-point number")
		}
		return f, nil
	case list:
		return strings.FieldsFunc(raw, func(r rune) bool { return r == ';' || r == '\n' }), nil
	}
	return i.fromText(raw)
}

func (i item) fromTOML(raw any) (any, error) {
	switch v := raw.(type) {
	case int64:
		if i.typ == double {
			return float64(v), nil
		}
		if i.typ == integer || i.typ == unsigned || i.typ == unsigned16 {
			return i.inRange(v)
		}
	case float64:
		if i.typ == double {
			return v, nil
		}
	default:
		return i.fromJSON(raw)
	}
	return nil, fmt.Errorf("not of type %s", i.typ)
}

// fromJSON reads a value that the API was sent. The errors are FTL's.
func (i item) fromJSON(raw any) (any, error) {
	switch v := raw.(type) {
	case bool:
		if i.typ == boolean {
			return v, nil
		}
	case float64:
		if i.typ == double {
			return v, nil
		}
		if (i.typ == integer || i.typ == unsigned || i.typ == unsigned16) && math.Trunc(v) == v {
			return i.inRange(int64(v))
		}
	case string:
		switch i.typ {
		case text, enum, address4, address6, password:
			return i.fromText(v)
		}
	case []any:
		if i.typ != list {
			break
		}
		values := make([]string, 0, len(v))
		for _, element := range v {
			s, ok := element.(string)
			if !ok {
				return nil, errors.New("array has invalid elements")
			}
			values = append(values, s)
		}
		return values, nil
	}
	switch i.typ {
	case double:
		return nil, errors.New("not a number")
	case enum, address4, address6, password:
		return nil, errors.New("not of type string")
	}
	return nil, fmt.Errorf("not of type %s", i.typ)
}

func (i item) inRange(n int64) (any, error) {
	low, high := int64(math.MinInt32), int64(math.MaxInt32)
	switch i.typ {
	case unsigned:
		low, high = 0, math.MaxUint32
	case unsigned16:
		low, high = 0, math.MaxUint16
	}
	if n < low || n > high {
		return nil, fmt.Errorf("not of type %s", i.typ)
	}
	return n, nil
}

func (i item) fromText(raw string) (any, error) {
	switch i.typ {
	case address4, address6:
		if raw == "" {
			return "", nil
		}
		addr, err := netip.ParseAddr(raw)
		if err != nil || addr.Is4() != (i.typ == address4) {
			return nil, fmt.Errorf("not a valid %s", i.typ)
		}
		if addr.IsUnspecified() {
			return "", nil
		}
		return addr.String(), nil
	case enum:
		if i.key == "dns.listeningMode" && !slices.Contains([]string{"LOCAL", "SINGLE", "BIND", "ALL", "NONE"}, strings.ToUpper(raw)) {
			return nil, errors.New("invalid option")
		}
	}
	return raw, nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

// valid checks what the type alone does not say, as far as a device sets it.
func (i item) valid(value any) error {
	switch i.key {
	case "dns.hosts":
		for at, record := range value.([]string) {
			if _, _, err := parseHost(record); err != nil {
				return fmt.Errorf("%s[%d]: %w", i.key, at, err)
			}
		}
	case "dns.domain.name", "webserver.domain":
		if name := value.(string); name != "" && !hostName.MatchString(name) {
			return fmt.Errorf("%s: not a valid domain (%q)", i.key, name)
		}
	}
	return nil
}

// parseHost reads a record of the form "ADDRESS NAME [NAME ...] [# comment]".
func parseHost(record string) (netip.Addr, []string, error) {
	record, _, _ = strings.Cut(record, "#")
	fields := strings.Fields(record)
	if len(fields) == 0 {
		return netip.Addr{}, nil, fmt.Errorf("found no first element (%q)", record)
	}
	addr, err := netip.ParseAddr(fields[0])
	if err != nil {
		return addr, nil, fmt.Errorf("neither a valid IPv4 nor IPv6 address (%q)", fields[0])
	}
	if len(fields) < 2 {
		return addr, nil, fmt.Errorf("entry does not have at least one hostname (%q)", record)
	}
	for _, name := range fields[1:] {
		if !hostName.MatchString(name) {
			return addr, nil, fmt.Errorf("invalid hostname (%q)", name)
		}
	}
	return addr, fields[1:], nil
}

// check is what FTL checks before it hands its settings on to its dnsmasq.
func (c *config) check() error {
	if c.flag("dhcp.active") {
		for _, key := range []string{"start", "end", "router"} {
			last := c.addr("dhcp." + key).As4()[3]
			if last == 0 || last == 255 {
				return fmt.Errorf("DHCP %s address is not valid", key)
			}
		}
		start, end, router := c.addr("dhcp.start"), c.addr("dhcp.end"), c.addr("dhcp.router")
		if end.Less(start) {
			return errors.New("DHCP range start address is larger than the end address")
		}
		if !router.Less(start) && !end.Less(router) {
			return errors.New("DHCP router address should not be within DHCP range")
		}
	}
	_, err := parseLines(c)
	return err
}

// save writes the whole file, with every setting, and lists at its end what the
// environment decides. A file that could not be read is put aside.
func (c *config) save(path string) error {
	if c.broken {
		if err := os.Rename(path, path+".broken"); err != nil {
			return fmt.Errorf("putting the broken settings aside: %w", err)
		}
		c.broken = false
	}
	sorted := items()
	slices.SortStableFunc(sorted, func(a, b item) int { return strings.Compare(a.section(), b.section()) })
	var b strings.Builder
	section := ""
	var modified, forced []string
	for _, i := range sorted {
		if i.typ == password {
			continue
		}
		if i.section() != section {
			section = i.section()
			fmt.Fprintf(&b, "[%s]\n", section)
		}
		at := len(section)
		fmt.Fprintf(&b, "  %s = %s", i.key[at+1:], literal(c.values[i.key]))
		if !reflect.DeepEqual(c.values[i.key], i.zero()) {
			modified = append(modified, i.key)
			mark := ""
			if c.forced[i.key] {
				forced = append(forced, i.key)
				mark = " (env)"
			}
			fmt.Fprintf(&b, " ### CHANGED%s, default = %s", mark, literal(i.zero()))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\n# Configuration statistics:\n# %d total entries out of which %d entries are default\n# --> %d entries are modified\n", len(items()), len(items())-len(modified), len(modified))
	if len(forced) > 0 {
		fmt.Fprintf(&b, "# %d entries are forced through environment:\n", len(forced))
		for _, key := range forced {
			fmt.Fprintf(&b, "#   - %s\n", key)
		}
	}
	if err := renameio.WriteFile(path, []byte(b.String()), 0o640); err != nil {
		return fmt.Errorf("writing the settings: %w", err)
	}
	return nil
}

// literal is a value as TOML has it, on one line.
func literal(value any) string {
	switch v := value.(type) {
	case string:
		return quote(v)
	case float64:
		return strconv.FormatFloat(v, 'f', 6, 64)
	case []string:
		quoted := make([]string, len(v))
		for at, s := range v {
			quoted[at] = quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprint(value)
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(s) + `"`
}
