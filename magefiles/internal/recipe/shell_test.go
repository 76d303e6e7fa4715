package recipe

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

func TestCommand(t *testing.T) {
	const packers = "PACKER_BUILDER_TYPE='arm' PACKER_BUILD_NAME='cubeos' "
	own := []string{"PACKER_BUILDER_TYPE=arm", "PACKER_BUILD_NAME=cubeos"}
	for _, tt := range []struct {
		name, command string
		env           []string
		want          string
	}{
		{"no variables", DefaultExecuteCommand, own,
			"chmod +x /tmp/script_1.sh; " + packers + " /tmp/script_1.sh"},
		{"its own", DefaultExecuteCommand, append([]string{"A=1", "B=two words"}, own...),
			"chmod +x /tmp/script_1.sh; A='1' B='two words' " + packers + " /tmp/script_1.sh"},
		{"quotes", DefaultExecuteCommand, append([]string{`A=it's "so"`, "B="}, own...),
			`chmod +x /tmp/script_1.sh; A='it'"'"'s "so"' B='' ` + packers + " /tmp/script_1.sh"},
		{"another command", "sudo env {{ .Vars }}bash -x {{.Path}}", own,
			"sudo env " + packers + "bash -x /tmp/script_1.sh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Provisioner{Type: Shell, Env: tt.env, ExecuteCommand: tt.command}.Command("/tmp/script_1.sh")
			if err != nil || got != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
	if _, err := (Provisioner{ExecuteCommand: "{{.Other}}"}).Command("x"); err == nil {
		t.Error("a field that Packer does not have was filled in")
	}
}

// A real shell has to give the script the very values; and so has Packer's own
// way, through another shell of the build machine.
func TestValuesReachTheScript(t *testing.T) {
	values := []string{
		"plain", "", " two  words ", `it's`, `''`, `"double"`, `back\slash`, `\n`, `\\`, "*", "~", "a;b&c|d<e>f", "(x)", "#no", "!", "é ☃ 日本", "%s", "-e", "a=b",
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "script.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf '%s\\n' \"$VALUE\" \"$PACKER_BUILDER_TYPE\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, value := range values {
		if bad := expandedByShell(value); bad != "" {
			t.Errorf("%q was refused: %s", value, bad)
		}
		p := Provisioner{Type: Shell, ExecuteCommand: DefaultExecuteCommand, Env: mergeEnv([]string{"PACKER_BUILDER_TYPE=arm", "VALUE=" + value})}
		command, err := p.Command(script)
		if err != nil {
			t.Fatal(err)
		}
		for name, argv := range map[string][]string{
			"shell":  {"/bin/sh", "-c", command},
			"packer": {"/bin/sh", "-c", "exec /bin/sh -c " + strconv.Quote(command)},
		} {
			out, err := process.Output(t.Context(), argv...)
			if err != nil {
				t.Fatal(err)
			}
			if want := value + "\narm"; out != want {
				t.Errorf("%s: the script got %q, want %q", name, out, want)
			}
		}
	}
}

// What is refused really is something else once Packer has passed it on.
func TestRefusedValuesDoNotReachTheScript(t *testing.T) {
	for _, value := range []string{"control", "$HOME", "a`echo b`", "line\nline", "tab\there", "bell\a", "\u200b"} {
		refused := expandedByShell(value) != ""
		p := Provisioner{Type: Shell, ExecuteCommand: "export {{.Vars}}; printenv VALUE", Env: []string{"VALUE=" + value}}
		command, err := p.Command("unused")
		if err != nil {
			t.Fatal(err)
		}
		out, err := process.Output(t.Context(), "/bin/sh", "-c", "exec /bin/sh -c "+strconv.Quote(command))
		if err != nil {
			t.Fatal(err)
		}
		if arrived := out == value; arrived == refused {
			t.Errorf("%q: refused %v, and Packer would deliver %q", value, refused, out)
		}
	}
}

func TestInlineScript(t *testing.T) {
	for _, tt := range []struct {
		inline []string
		want   string
	}{
		{[]string{"a", "b"}, "#!/bin/sh -e\na\nb\n"},
		{[]string{"#!/bin/bash", "b"}, "#!/bin/bash\nb\n"},
	} {
		if got := (Provisioner{Inline: tt.inline}).InlineScript(); got != tt.want {
			t.Errorf("InlineScript(%q) = %q, want %q", tt.inline, got, tt.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "512": 512, "1K": 1 << 10, "512M": 512 << 20, "8G": 8 << 30, "2T": 2 << 40} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "G", "8GB", "8g", "1.5G", "-1", "M8", " 8G", "99999999999999999999", "9999999999T", strings.Repeat("9", 40)} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", s, got)
		}
	}
}
