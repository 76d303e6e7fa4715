package recipe

import (
	"fmt"
	"strconv"
	"strings"
	"text/template"
)

// DefaultExecuteCommand is what Packer's shell provisioner runs where a
// template says nothing else.
const DefaultExecuteCommand = "chmod +x {{.Path}}; {{.Vars}} {{.Path}}"

// Command is the line Packer gives to /bin/sh -c in the chroot once a script
// has been uploaded to path.
func (p Provisioner) Command(path string) (string, error) {
	t, err := template.New("execute_command").Option("missingkey=error").Parse(p.ExecuteCommand)
	if err != nil {
		return "", fmt.Errorf("reading execute_command: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, struct{ Vars, Path string }{p.vars(), path}); err != nil {
		return "", fmt.Errorf("filling in execute_command: %w", err)
	}
	return b.String(), nil
}

// vars is what {{.Vars}} stands for: each variable with a space behind it.
func (p Provisioner) vars() string {
	var b strings.Builder
	for _, kv := range p.Env {
		key, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&b, "%s='%s' ", key, strings.ReplaceAll(value, "'", `'"'"'`))
	}
	return b.String()
}

// InlineScript is the script Packer makes of the inline commands.
func (p Provisioner) InlineScript() string {
	script := strings.Join(p.Inline, "\n") + "\n"
	if strings.HasPrefix(script, "#!") {
		return script
	}
	return "#!/bin/sh -e\n" + script
}

// expandedByShell explains what in s would not reach the chroot as it is, and
// is empty if all would. Packer's chroot communicator gives its command to a
// shell of the build machine, between double quotes made by strconv.Quote.
func expandedByShell(s string) string {
	for _, r := range s {
		switch q := strconv.QuoteRune(r); {
		case r == '$' || r == '`':
			return fmt.Sprintf("Packer would have the build machine's shell expand the %q in %q.", r, s)
		case r != '\\' && r != '\'' && r != '"' && q[1] == '\\':
			return fmt.Sprintf("The character %s in %q would reach the chroot as those letters under Packer.", q, s)
		}
	}
	return ""
}
