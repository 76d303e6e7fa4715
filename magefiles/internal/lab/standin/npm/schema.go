package npm

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// property is what a member of a request has to be. The zero value takes
// anything.
type property struct {
	kind           string // string, integer, boolean, array, object
	required       bool
	min, max       int // of a string's length, or of an integer
	pattern        *regexp.Regexp
	allowed        []string
	elements       *property
	minItems       int
	uniqueElements bool
}

// schema is what a request may be made of.
type schema struct {
	properties map[string]property
	open       bool // properties of other names are taken, too
	least      int  // properties
}

// check makes values what the schema wants them to be, where that can be done,
// and returns what is wrong in the words of ajv, the backend's validator.
func (s schema) check(body map[string]any) string {
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(s.properties)) {
		if _, there := body[name]; !there && s.properties[name].required {
			problems = append(problems, fmt.Sprintf("data must have required property '%s'", name))
		}
	}
	if len(body) < s.least {
		problems = append(problems, fmt.Sprintf("data must NOT have fewer than %d properties", s.least))
	}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		p, known := s.properties[name]
		if !known {
			if !s.open {
				problems = append(problems, "data must NOT have additional properties")
			}
			continue
		}
		value, wrong := p.check("data/"+name, body[name])
		body[name] = value
		problems = append(problems, wrong...)
	}
	return strings.Join(problems, ", ")
}

func (p property) check(at string, value any) (any, []string) {
	value = p.coerce(value)
	wrong := func(format string, args ...any) []string {
		return []string{at + " must " + fmt.Sprintf(format, args...)}
	}
	switch p.kind {
	case "string":
		s, ok := value.(string)
		switch {
		case !ok:
			return value, wrong("be string")
		case len(s) < p.min:
			return value, wrong("NOT have fewer than %d characters", p.min)
		case p.max > 0 && len(s) > p.max:
			return value, wrong("NOT have more than %d characters", p.max)
		case p.pattern != nil && !p.pattern.MatchString(s):
			return value, wrong("match pattern %q", p.pattern)
		case len(p.allowed) > 0 && !slices.Contains(p.allowed, s):
			return value, wrong("be equal to one of the allowed values")
		}
	case "integer":
		n, ok := value.(float64)
		switch {
		case !ok || n != float64(int(n)):
			return value, wrong("be integer")
		case int(n) < p.min:
			return value, wrong("be >= %d", p.min)
		case p.max > 0 && int(n) > p.max:
			return value, wrong("be <= %d", p.max)
		}
	case "boolean":
		if _, ok := value.(bool); !ok {
			return value, wrong("be boolean")
		}
	case "object":
		if _, ok := value.(map[string]any); !ok {
			return value, wrong("be object")
		}
	case "array":
		elements, ok := value.([]any)
		switch {
		case !ok:
			return value, wrong("be array")
		case len(elements) < p.minItems:
			return value, wrong("NOT have fewer than %d items", p.minItems)
		}
		return value, p.checkElements(at, elements)
	}
	return value, nil
}

func (p property) checkElements(at string, elements []any) []string {
	var problems []string
	for i, element := range elements {
		if p.elements != nil {
			var found []string
			elements[i], found = p.elements.check(fmt.Sprintf("%s/%d", at, i), element)
			problems = append(problems, found...)
		}
		if first := slices.Index(elements[:i], elements[i]); p.uniqueElements && first >= 0 {
			problems = append(problems, fmt.Sprintf("%s must NOT have duplicate items (items ## %d and %d are identical)", at, i, first))
		}
	}
	return problems
}

// coerce makes a value of the wrong type the one that is meant.
func (p property) coerce(value any) any {
	s, isString := value.(string)
	switch p.kind {
	case "integer":
		if n, err := strconv.ParseFloat(s, 64); isString && err == nil {
			return n
		}
		if b, ok := value.(bool); ok {
			if b {
				return 1.0
			}
			return 0.0
		}
	case "boolean":
		switch value {
		case "true", 1.0:
			return true
		case "false", 0.0:
			return false
		}
	case "string":
		switch v := value.(type) {
		case float64, bool:
			return fmt.Sprint(v)
		}
	}
	return value
}

func tokenSchema() schema {
	return schema{properties: map[string]property{
		"identity": {kind: "string", min: 1, required: true},
		"secret":   {kind: "string", min: 1, required: true},
		"scope":    {kind: "string", min: 1, allowed: []string{"user"}},
	}}
}

func userProperties(required bool) map[string]property {
	return map[string]property{
		"name":        {kind: "string", min: 1, required: required},
		"nickname":    {kind: "string", required: required},
		"email":       {kind: "string", min: 3, required: required},
		"roles":       {kind: "array", elements: &property{kind: "string"}},
		"is_disabled": {kind: "boolean"},
	}
}

func newUserSchema() schema {
	s := schema{properties: userProperties(true)}
	s.properties["auth"] = property{kind: "object"}
	return s
}

func userSchema() schema { return schema{properties: userProperties(false), least: 1} }

func authSchema() schema {
	return schema{open: true, properties: map[string]property{
		"type":    {kind: "string", pattern: regexp.MustCompile(`^password$`), required: true},
		"current": {kind: "string", min: 1, max: 64},
		"secret":  {kind: "string", min: 8, max: 64, required: true},
	}}
}

var domainName = regexp.MustCompile("^[^&| @!#%^();:/\\\\}{=+?<>,~`'\"]+$")

func hostProperties(required bool) map[string]property {
	return map[string]property{
		"domain_names":            {kind: "array", minItems: 1, elements: &property{kind: "string", pattern: domainName}, uniqueElements: true, required: required},
		"forward_scheme":          {kind: "string", allowed: []string{"http", "https"}, required: required},
		"forward_host":            {kind: "string", min: 1, max: 255, required: required},
		"forward_port":            {kind: "integer", min: 1, max: 65535, required: required},
		"certificate_id":          {},
		"ssl_forced":              {kind: "boolean"},
		"hsts_enabled":            {kind: "boolean"},
		"hsts_subdomains":         {kind: "boolean"},
		"trust_forwarded_proto":   {kind: "boolean"},
		"http2_support":           {kind: "boolean"},
		"block_exploits":          {kind: "boolean"},
		"caching_enabled":         {kind: "boolean"},
		"allow_websocket_upgrade": {kind: "boolean"},
		"access_list_id":          {kind: "integer"},
		"advanced_config":         {kind: "string"},
		"enabled":                 {kind: "boolean"},
		"meta":                    {kind: "object"},
		"locations":               {kind: "array"},
	}
}

func newHostSchema() schema { return schema{properties: hostProperties(true)} }

func hostSchema() schema { return schema{properties: hostProperties(false), least: 1} }
