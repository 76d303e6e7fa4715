package api

import (
	"os"
	"slices"
	"strings"
	"sync"
)

// variableFiles are the files of variables. They are written one change after
// the other, which the real API does not see to.
type variableFiles struct{ mu sync.Mutex }

// set changes variables of a file, or adds them. The value is written as it is,
// also if it has a line break, and a power cut can leave half a file.
func (f *variableFiles) set(path string, mode os.FileMode, variables map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	if data, err := os.ReadFile(path); err == nil {
		lines = strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	}
	for name, value := range variables {
		line := name + "=" + value
		if at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), name+"=") }); at >= 0 {
			lines[at] = line
		} else {
			lines = append(lines, line)
		}
	}
	return os.WriteFile(path, []byte(strings.TrimLeft(strings.Join(lines, "\n"), "\n")+"\n"), mode)
}

// get reads a variable of a file, as it is written there.
func (f *variableFiles) get(path, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return value
		}
	}
	return ""
}
