package native

import (
	"bytes"
	"debug/elf"
	"fmt"
)

// elfHead is how much of a file tells which machine it is for.
const elfHead = 20

func isNative(head []byte) bool {
	return len(head) == elfHead && bytes.HasPrefix(head, []byte(elf.ELFMAG)) &&
		elf.Machine(uint16(head[18])|uint16(head[19])<<8) == elf.EM_X86_64
}

// patchArchitecture replaces the name of the architecture that dpkg's programs take
// for the machine's own (ARCHITECTURE in its config.h). The two names are of
// the same length, and as a whole string the name has no other use in them.
func patchArchitecture(path string, program []byte) ([]byte, error) {
	const own, device = "\x00amd64\x00", "\x00arm64\x00"
	if path == "usr/bin/dpkg" && !bytes.Contains(program, []byte(own)) {
		return nil, fmt.Errorf("%s does not hold the name of its architecture any more", path)
	}
	return bytes.ReplaceAll(program, []byte(own), []byte(device)), nil
}

// patchInterpreter replaces the name of the dynamic loader in a program's PT_INTERP
// segment, if it has one, by loader.
func patchInterpreter(program []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz <= uint64(len(loader)) {
			return nil, fmt.Errorf("the name of the dynamic loader has only %d bytes", p.Filesz)
		}
		name := program[p.Off : p.Off+p.Filesz]
		clear(name)
		copy(name, loader)
	}
	return program, nil
}
