package recipe

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Types of provisioners.
const (
	Shell = "shell"
	File  = "file"
)

// Provisioner is one step of the build, with its defaults filled in.
type Provisioner struct {
	Type string // Shell or File
	Name string // may be empty; see Label

	// Of a shell provisioner: either Scripts or Inline.
	Scripts        []string // absolute
	Inline         []string // see InlineScript
	Env            []string // KEY=value, one each, sorted as Packer sorts them, its own two included
	ExecuteCommand string   // see Command

	// Of a file provisioner. A directory's name ends in a slash: its contents
	// are copied.
	Sources     []string // absolute
	Destination string

	Range hcl.Range // the head of its block
}

// Label names the provisioner for people: its name, or else what it runs.
func (p Provisioner) Label() string {
	switch {
	case p.Name != "":
		return p.Name
	case len(p.Scripts) > 0:
		return strings.TrimSuffix(filepath.Base(p.Scripts[0]), ".sh")
	case len(p.Sources) > 0:
		return "files to " + p.Destination
	default:
		return fmt.Sprintf("%s at line %d", p.Type, p.Range.Start.Line)
	}
}

func buildSpec() spec {
	return spec{
		known:       map[string]cty.Type{"sources": cty.List(cty.String)},
		required:    []string{"sources"},
		unsupported: []string{"name", "description"},
		blocks: []hcl.BlockHeaderSchema{
			{Type: "provisioner", LabelNames: []string{"type"}},
			// Packer's, but not ours:
			{Type: "source", LabelNames: []string{"reference"}},
			{Type: "error-cleanup-provisioner", LabelNames: []string{"type"}},
			{Type: "post-processor", LabelNames: []string{"type"}},
			{Type: "post-processors"},
			{Type: "hcp_packer_registry"},
		},
	}
}

// decodeBuild decodes the one build into r.
func (l *loader) decodeBuild(content *hcl.BodyContent, source *Source, r *Recipe) {
	blocks := content.Blocks.OfType("build")
	if len(blocks) == 0 {
		l.problem(content.MissingItemRange, "No build", "The recipe needs one build block.")
		return
	}
	for _, extra := range blocks[1:] {
		l.unsupported(extra.DefRange, "A second build", fmt.Sprintf("The first one is at %s.", blocks[0].DefRange))
	}
	attrs, nested := l.decode(blocks[0], "a build", buildSpec(), l.context(nil))
	l.checkBuildSources(attrs, source)

	if source == nil {
		source = &Source{Type: "arm"}
	}
	ctx := l.context(map[string]cty.Value{"source": source.accessor()})
	for _, b := range nested {
		if b.Type != "provisioner" {
			l.unsupported(b.DefRange, fmt.Sprintf("%q in a build", b.Type), "")
			continue
		}
		switch b.Labels[0] {
		case Shell:
			r.add(l.decodeShell(b, source, ctx))
		case File:
			r.add(l.decodeFile(b, ctx))
		default:
			l.unsupported(b.LabelRanges[0], fmt.Sprintf("The %q provisioner", b.Labels[0]), "Shell and file provisioners are.")
		}
	}
}

func (r *Recipe) add(p Provisioner, a attributes) {
	r.Provisioners = append(r.Provisioners, p)
	r.attrs = append(r.attrs, a)
}

func (l *loader) checkBuildSources(a attributes, source *Source) {
	if !a.has("sources") || source == nil {
		return
	}
	want := "source." + source.Type + "." + source.Name
	if list := a.list("sources"); len(list) != 1 || list[0] != want {
		l.problem(a.at("sources"), "Invalid sources", "A build has exactly one source here: [%q].", want)
	}
}

// metaArguments are those Packer takes in every provisioner.
func metaArguments() []string {
	return []string{"pause_before", "max_retries", "timeout", "continue_on_error", "only", "except", "override"}
}

func shellSpec() spec {
	return spec{
		known: map[string]cty.Type{
			"name": cty.String, "script": cty.String, "scripts": cty.List(cty.String), "inline": cty.List(cty.String),
			"environment_vars": cty.List(cty.String), "execute_command": cty.String,
		},
		unsupported: append(metaArguments(), "env", "env_var_format", "use_env_var_file", "inline_shebang", "binary",
			"remote_path", "remote_folder", "remote_file", "valid_exit_codes", "start_retry_timeout", "skip_clean",
			"expect_disconnect", "pause_after"),
	}
}

func fileSpec() spec {
	return spec{
		known: map[string]cty.Type{
			"name": cty.String, "source": cty.String, "sources": cty.List(cty.String),
			"destination": cty.String, "direction": cty.String,
		},
		required:    []string{"destination"},
		unsupported: append(metaArguments(), "content", "generated"),
	}
}

func (l *loader) decodeShell(b *hcl.Block, source *Source, ctx *hcl.EvalContext) (Provisioner, attributes) {
	a, _ := l.decode(b, "a shell provisioner", shellSpec(), ctx)
	p := Provisioner{Type: Shell, Name: a.str("name"), Inline: a.list("inline"), ExecuteCommand: a.str("execute_command"), Range: b.DefRange}
	scripts := a.list("scripts")
	if s := a.str("script"); s != "" {
		scripts = append(scripts, s)
	}
	l.checkRuns(a, scripts, p.Inline)
	for _, s := range scripts {
		p.Scripts = append(p.Scripts, l.abs(s))
	}
	if p.ExecuteCommand == "" {
		p.ExecuteCommand = DefaultExecuteCommand
	}
	env := a.list("environment_vars")
	for i, kv := range env {
		l.checkEnv(a.atElement("environment_vars", i), kv)
	}
	p.Env = mergeEnv(append([]string{"PACKER_BUILD_NAME=" + source.Name, "PACKER_BUILDER_TYPE=" + source.Type}, env...))
	if _, err := p.Command("/tmp/script_0.sh"); err != nil {
		l.problem(a.at("execute_command"), "Invalid execute_command", "%s.", err)
	} else if bad := expandedByShell(p.ExecuteCommand); bad != "" {
		l.problem(a.at("execute_command"), "Not supported", "%s", bad)
	}
	return p, a
}

// checkRuns wants something to run, given in one way.
func (l *loader) checkRuns(a attributes, scripts, inline []string) {
	const summary = "Invalid shell provisioner"
	var given []string
	for _, name := range []string{"script", "scripts", "inline"} {
		if _, ok := a.values[name]; ok {
			given = append(given, name)
		}
	}
	switch {
	case len(given) != 1:
		l.problem(a.block, summary, "Set one of \"script\", \"scripts\" and \"inline\"; %d of them are.", len(given))
	case a.unknown(given[0]):
	case len(scripts)+len(inline) == 0:
		l.problem(a.at(given[0]), summary, "It has nothing to run: %q is empty.", given[0])
	}
	if i := slices.Index(scripts, ""); i >= 0 {
		l.problem(a.atElement("scripts", i), summary, "The name of a script is empty.")
	}
}

// mergeEnv sorts by key and lets a later value win, as Packer does.
func mergeEnv(env []string) []string {
	values := map[string]string{}
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		values[key] = value
	}
	merged := make([]string, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		merged = append(merged, key+"="+values[key])
	}
	return merged
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (l *loader) checkEnv(at hcl.Range, kv string) {
	key, value, ok := strings.Cut(kv, "=")
	if !ok || !envName.MatchString(key) {
		l.problem(at, "Invalid environment variable", "%q is not in the format KEY=value.", kv)
		return
	}
	if bad := expandedByShell(value); bad != "" {
		l.problem(at, "Not supported", "%s", bad)
	}
}

// checkCopies wants something to copy, by name.
func (l *loader) checkCopies(a attributes, sources []string) {
	const summary = "Invalid file provisioner"
	_, one := a.values["source"]
	_, many := a.values["sources"]
	switch {
	case a.unknown("source") || a.unknown("sources"):
	case !one && !many:
		l.problem(a.block, summary, "It has no \"source\" or \"sources\".")
	case many && slices.Contains(sources, ""):
		l.problem(a.at("sources"), summary, "The name of a source is empty.")
	case len(sources) == 0 && many:
		l.problem(a.at("sources"), summary, "It has nothing to copy: \"sources\" is empty.")
	case len(sources) == 0:
		l.problem(a.at("source"), summary, "It has nothing to copy: \"source\" is empty.")
	}
}

var destinationName = regexp.MustCompile(`^/[A-Za-z0-9._/+@:-]*$`)

func (l *loader) decodeFile(b *hcl.Block, ctx *hcl.EvalContext) (Provisioner, attributes) {
	a, _ := l.decode(b, "a file provisioner", fileSpec(), ctx)
	p := Provisioner{Type: File, Name: a.str("name"), Destination: a.str("destination"), Range: b.DefRange}
	sources := a.list("sources")
	if s := a.str("source"); s != "" {
		sources = append(sources, s)
	}
	l.checkCopies(a, sources)
	for _, s := range sources {
		if strings.ContainsAny(s, "'") || expandedByShell(s) != "" {
			l.problem(a.at("source"), "Invalid file provisioner", "Packer can not copy from a path with quotes, $ or control characters: %q.", s)
		}
		p.Sources = append(p.Sources, l.abs(s))
	}
	if a.has("direction") && a.str("direction") != "upload" {
		l.unsupported(a.at("direction"), fmt.Sprintf("The direction %q", a.str("direction")), "Files are only copied into the image.")
	}
	if a.has("destination") && (!destinationName.MatchString(p.Destination) || strings.Contains(p.Destination+"/", "/../")) {
		l.problem(a.at("destination"), "Invalid file provisioner",
			"\"destination\" has to be an absolute path of plain characters, not %q: Packer hands it to a shell without quotes.", p.Destination)
	}
	if len(sources) > 1 && a.has("destination") && !strings.HasSuffix(p.Destination, "/") {
		l.problem(a.at("destination"), "Invalid file provisioner", "More than one source needs a directory: end \"destination\" with a slash.")
	}
	return p, a
}
