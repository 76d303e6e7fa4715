package recipe

import (
	"path/filepath"
	"slices"
)

// PackerOnly lists the attributes of the source that change nothing of what the
// embedded engine does, each with the reason. They are required or refused as
// all others are, since the recipe is Packer's, too.
func PackerOnly() map[string]string {
	return map[string]string{
		"file_unarchive_cmd":           "the embedded engine unpacks an .xz by itself",
		"image_size":                   "the embedded engine makes the image as large as its content and image_headroom need; Packer provisions a mounted image, which is grown to this before",
		"qemu_binary_source_path":      "the kernel has opened the emulator before a chroot begins (binfmt_misc's flag F); the builder takes this to find its handler",
		"qemu_binary_destination_path": "the embedded engine's chroot holds no emulator; the builder copies its own to this place",
	}
}

// checkPackerOnly checks the form of these attributes.
func (l *loader) checkPackerOnly(s *Source, a attributes) {
	l.checkUnarchive(s, a)
	if size, err := parseSize(a.str("image_size")); a.has("image_size") && (err != nil || size == 0) {
		l.problem(a.at("image_size"), "Invalid image", "\"image_size\" has to be a size such as 8G, not %q.", a.str("image_size"))
	}
	for _, name := range []string{"qemu_binary_source_path", "qemu_binary_destination_path"} {
		if a.has(name) && !filepath.IsAbs(a.str(name)) {
			l.problem(a.at(name), "Invalid emulator", "%q has to be an absolute path, not %q.", name, a.str(name))
		}
	}
}

// Words of file_unarchive_cmd that the builder replaces.
const (
	archivePath = "$ARCHIVE_PATH"
	tmpDir      = "$TMP_DIR"
)

// checkUnarchive checks the form of the command that Packer unpacks a base image
// with: the builder runs it without a shell, and replaces whole words.
func (l *loader) checkUnarchive(s *Source, a attributes) {
	const name = "file_unarchive_cmd"
	command := a.list(name)
	switch {
	case a.unknown(name):
	case len(command) == 0:
		if s.BaseImage().Packed {
			l.problem(a.at(name), "Invalid base image", "%q is missing: the builder can not unpack an .xz by itself.", name)
		}
	case !slices.Contains(command, archivePath) || command[0] == "" || command[0] == archivePath:
		l.problem(a.at(name), "Invalid base image", "%q has to be a command and its arguments, %q one of them, not %q.", name, archivePath, command)
	}
	for i, word := range command {
		if len(word) > 0 && word[0] == '$' && word != archivePath && word != tmpDir {
			l.problem(a.atElement(name, i), "Invalid base image", "The builder runs no shell: of words that begin with $ it knows %s and %s, not %q.", archivePath, tmpDir, word)
		}
	}
}
