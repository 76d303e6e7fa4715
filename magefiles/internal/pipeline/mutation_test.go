package pipeline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/cubeos-app/releases/magefiles/internal/recipe"
)

// mutation is a recipe in which one thing is another.
type mutation struct {
	key        string // of what is changed: source.file_urls, variable.wifi_key
	what       string // for people
	madeUp     bool   // the value is made from the old one, so it may be no valid one
	packerOnly bool

	template, varFile []byte // nil as they are
	version           string // "" as it is
}

// otherValues are valid values, of which at least one is not the recipe's. What
// is not here gets a value made from the recipe's own.
func otherValues() map[string][]cty.Value {
	str := func(values ...string) []cty.Value {
		var all []cty.Value
		for _, v := range values {
			all = append(all, cty.StringVal(v))
		}
		return all
	}
	list := func(values ...string) []cty.Value { return []cty.Value{cty.TupleVal(str(values...))} }
	return map[string][]cty.Value{
		"locals.repository": str("packer"),
		"locals.scripts":    str("firstboot"),

		"source.file_urls":                                 list("https://example.org/other.img.xz"),
		"source.file_checksum":                             str(strings.Repeat("0123456789abcdef", 4), strings.Repeat("0", 64)),
		"source.file_checksum_type":                        str("sha512", "none"),
		"source.file_target_extension":                     str("img", "xz", "zip"),
		"source.file_unarchive_cmd":                        list("unxz", "$ARCHIVE_PATH"),
		"source.image_build_method":                        str("new", "reuse"),
		"source.image_path":                                str("packer/../build/other-1.2.3-arm64.img", "build/cubeos.img"),
		"source.image_size":                                str("9G"),
		"source.image_type":                                str("gpt"),
		"source.image_chroot_env":                          list("PATH=/bin"),
		"source.image_setup_extra":                         {cty.TupleVal(list("true"))},
		"source.qemu_binary_source_path":                   str("/usr/local/bin/qemu-aarch64"),
		"source.qemu_binary_destination_path":              str("/usr/local/bin/qemu-aarch64"),
		"source.image_partitions.type":                     str("b", "e", "83", "8e"),
		"source.image_partitions.start_sector":             {cty.NumberIntVal(8192), cty.NumberIntVal(1056768)},
		"source.image_partitions.size":                     str("256M", "0", "2G"),
		"source.image_partitions.filesystem":               str("vfat", "ext4", "btrfs"),
		"source.image_partitions.mountpoint":               str("/boot", "/", "/data"),
		"source.additional_chroot_mounts.mount_type":       str("bind"),
		"source.additional_chroot_mounts.source_path":      str("/tmp"),
		"source.additional_chroot_mounts.destination_path": str("/tmp"),

		"build.sources":                           list("source.arm.other"),
		"build.provisioner.shell.script":          str("packer/scripts/01-base-setup.sh", "packer/scripts/07-cleanup.sh"),
		"build.provisioner.shell.scripts":         list("packer/scripts/01-base-setup.sh"),
		"build.provisioner.shell.execute_command": str("bash {{.Path}}"),
		"build.provisioner.file.source":           str("packer/scripts/lib.sh", "packer/scripts/"),
		"build.provisioner.file.sources":          list("packer/scripts/07-cleanup.sh"),
		"build.provisioner.file.destination":      str("/srv/"),
		"build.provisioner.file.direction":        str("download"),

		"variable.version":                   str("1.2.4"),
		"variable.image_size":                str("9G"),
		"variable.base_image_kind":           str("download", "bootstrap"),
		"variable.base_image_url":            str("https://example.org/other.img.xz"),
		"variable.base_image_sha256":         str(strings.Repeat("0123456789abcdef", 4)),
		"variable.base_image_format":         str("xz", "raw"),
		"variable.debian_suite":              str("forky"),
		"variable.docker_source":             str("docker-ce", "debian"),
		"variable.docker_ce_key_fingerprint": str(strings.Repeat("0123456789", 4)),
		"variable.container_source":          str("registry", "stand-ins"),
		"variable.optional_services":         {cty.TupleVal(str("registry")), cty.EmptyTupleVal},
		"variable.locale":                    str("de_DE.UTF-8"),
		"variable.timezone":                  str("Europe/Athens"),
		"variable.wifi_country":              str("NL"),
		"variable.device_passwords":          str("documented", "random"),
		"variable.wifi_key":                  str("mac", "random"),
		"variable.release_url_base":          str("https://example.org/v{version}"),
		"variable.publish_to":                list("gitlab:cubeos-app/releases", "github:cubeos-app/releases"),
		"variable.imager_init_format":        str("systemd", "none"),
		"variable.imager_devices":            list("pi4-64bit"),
		"variable.imager_capabilities":       list("passwordless_sudo", "i2c"),
		"variable.base_image_like":           str("debian", "raspios"),
	}
}

// madeUp returns a value like v, but another.
func madeUp(v cty.Value) cty.Value {
	switch t := v.Type(); {
	case t == cty.String:
		return cty.StringVal(v.AsString() + "-other")
	case t == cty.Number:
		return v.Add(cty.NumberIntVal(1))
	case t == cty.Bool:
		return v.Not()
	case t.IsTupleType() || t.IsListType():
		elements := v.AsValueSlice()
		if len(elements) == 0 {
			return cty.TupleVal([]cty.Value{cty.StringVal("other")})
		}
		elements[len(elements)-1] = madeUp(elements[len(elements)-1])
		return cty.TupleVal(elements)
	default:
		panic("no other value is known for " + t.FriendlyName())
	}
}

// others returns what a line of the key could say instead of now.
func others(key string, now cty.Value) (values []cty.Value, isMadeUp bool) {
	known, ok := otherValues()[key]
	if !ok {
		return []cty.Value{madeUp(now)}, true
	}
	known = slices.DeleteFunc(known, func(v cty.Value) bool { return v.RawEquals(now) })
	if len(known) == 0 {
		panic("otherValues has no other value for " + key)
	}
	return known, false
}

// mutations changes everything that the recipe says, one thing at a time: the
// value of each attribute, each label, whether a block is there, and how often,
// and the value of each variable.
func (c *checkout) mutations() []mutation {
	c.Helper()
	src := c.read(c.template)
	file, diags := hclsyntax.ParseConfig(src, c.template, hcl.InitialPos)
	if diags.HasErrors() {
		c.Fatal(diags)
	}
	body := file.Body.(*hclsyntax.Body)
	w := &walk{checkout: c, src: src, context: c.context(body), body: body}
	for _, b := range body.Blocks {
		switch b.Type {
		case "locals", "source", "build":
			w.block(b, b.Type)
		case "variable":
			w.variable(b)
		default:
			c.Fatalf("%s: what another block %q would mean is not known here", b.Range(), b.Type)
		}
	}
	return w.found
}

// walk gathers mutations.
type walk struct {
	*checkout
	src     []byte
	body    *hclsyntax.Body
	context *hcl.EvalContext
	found   []mutation
}

// block changes what is in a block.
func (w *walk) block(b *hclsyntax.Block, key string) {
	for _, name := range slices.Sorted(maps.Keys(b.Body.Attributes)) {
		w.attribute(b.Body.Attributes[name], key+"."+name)
	}
	for _, label := range b.LabelRanges {
		w.change(label, `"other"`, mutation{key: key, what: fmt.Sprintf("%s: another label", label)})
	}
	for _, nested := range b.Body.Blocks {
		key := strings.Join(append([]string{key, nested.Type}, nested.Labels...), ".")
		w.block(nested, key)
		whole := hcl.RangeBetween(nested.TypeRange, nested.CloseBraceRange)
		once := string(whole.SliceBytes(w.src))
		w.change(whole, "", mutation{key: key, what: fmt.Sprintf("%s: without it", whole)})
		w.change(whole, once+"\n"+once, mutation{key: key, what: fmt.Sprintf("%s: twice", whole)})
	}
}

func (w *walk) attribute(a *hclsyntax.Attribute, key string) {
	now, diags := a.Expr.Value(w.context)
	if diags.HasErrors() {
		w.Fatal(diags)
	}
	values, madeUp := others(key, now)
	_, packerOnly := recipe.PackerOnly()[a.Name]
	for _, value := range values {
		w.change(a.Expr.Range(), text(value), mutation{
			key: key, what: fmt.Sprintf("%s: %s = %s", a.Range(), a.Name, text(value)),
			madeUp: madeUp, packerOnly: packerOnly && strings.HasPrefix(key, "source."),
		})
	}
}

// change adds the mutation in which the template has other text at a range.
func (w *walk) change(at hcl.Range, text string, m mutation) {
	m.template = slices.Concat(w.src[:at.Start.Byte], []byte(text), w.src[at.End.Byte:])
	w.found = append(w.found, m)
}

// variable gives a variable other values in the var-file, or in the way that
// the version is given.
func (w *walk) variable(b *hclsyntax.Block) {
	name := b.Labels[0]
	key := "variable." + name
	values, madeUp := others(key, w.context.Variables["var"].GetAttr(name))
	for _, value := range values {
		m := mutation{
			key: key, what: fmt.Sprintf("%s: %s = %s", w.varFile, name, text(value)),
			madeUp: madeUp, packerOnly: w.feedsPackerOnly(name),
		}
		if name == "version" {
			m.version = value.AsString()
		} else {
			f := w.parse(w.read(w.varFile))
			f.Body().SetAttributeValue(name, value)
			m.varFile = f.Bytes()
		}
		w.found = append(w.found, m)
	}
}

// feedsPackerOnly says whether nothing is made from a variable but attributes
// that only Packer uses.
func (w *walk) feedsPackerOnly(variable string) bool {
	feeds, only := false, true
	visit := func(node hclsyntax.Node) hcl.Diagnostics {
		if a, ok := node.(*hclsyntax.Attribute); ok && refersTo(a, variable) {
			_, listed := recipe.PackerOnly()[a.Name]
			feeds, only = true, only && listed
		}
		return nil
	}
	for _, b := range w.body.Blocks {
		if b.Type != "variable" {
			_ = hclsyntax.VisitAll(b, visit)
		}
	}
	return feeds && only
}

func refersTo(a *hclsyntax.Attribute, variable string) bool {
	return slices.ContainsFunc(a.Expr.Variables(), func(t hcl.Traversal) bool {
		if t.RootName() != "var" || len(t) < 2 {
			return false
		}
		step, ok := t[1].(hcl.TraverseAttr)
		return ok && step.Name == variable
	})
}

func (c *checkout) parse(src []byte) *hclwrite.File {
	c.Helper()
	f, diags := hclwrite.ParseConfig(src, c.template, hcl.InitialPos)
	if diags.HasErrors() {
		c.Fatal(diags)
	}
	return f
}

func text(v cty.Value) string { return string(hclwrite.TokensForValue(v).Bytes()) }

// withExtras returns a template whose build has the extras, too.
func (c *checkout) withExtras(src []byte) []byte {
	c.Helper()
	f := c.parse(src)
	for _, b := range f.Body().Blocks() {
		if b.Type() == "build" {
			for _, extra := range c.parse([]byte(extras)).Body().Blocks() {
				b.Body().AppendBlock(extra)
			}
		}
	}
	return f.Bytes()
}

// context is what the template's expressions may refer to.
func (c *checkout) context(template *hclsyntax.Body) *hcl.EvalContext {
	c.Helper()
	r, err := recipe.LoadProfile(c.root, c.profile, map[string]string{"version": "1.2.3"})
	c.must(err)
	var text bytes.Buffer
	c.must(r.Dump(&text))
	var dump struct {
		Variables map[string]ctyjson.SimpleJSONValue
	}
	c.must(json.Unmarshal(text.Bytes(), &dump))
	variables := map[string]cty.Value{}
	for name, v := range dump.Variables {
		variables[name] = v.Value
	}
	locals := map[string]cty.Value{}
	context := &hcl.EvalContext{Functions: map[string]function.Function{"join": stdlib.JoinFunc}, Variables: map[string]cty.Value{
		"var":  cty.ObjectVal(variables),
		"path": cty.ObjectVal(map[string]cty.Value{"root": cty.StringVal("packer"), "cwd": cty.StringVal(c.root)}),
	}}
	for _, b := range template.Blocks {
		if b.Type != "locals" {
			continue
		}
		for name, a := range b.Body.Attributes {
			v, diags := a.Expr.Value(context)
			if diags.HasErrors() {
				c.Fatal(diags)
			}
			locals[name] = v
		}
	}
	context.Variables["local"] = cty.ObjectVal(locals)
	return context
}
