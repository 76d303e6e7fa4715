package diskimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Extract copies the root file system of img into the empty directory tree,
// with the boot file system's files below bootDir (a path inside the tree). It
// needs root.
func Extract(ctx context.Context, img string, boot, root Partition, tree, bootDir string) error {
	if err := process.Run(ctx, extractRootArgv(img, root, tree)...); err != nil {
		return fmt.Errorf("copying the root file system out of %s: %w", img, err)
	}
	to := filepath.Join(tree, bootDir)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := CopyFAT(ctx, img, boot, to); err != nil {
		return fmt.Errorf("copying the boot file system out of %s: %w", img, err)
	}
	// A mounted FAT shows every file with the same mode, whatever mcopy chose.
	if err := process.Run(ctx, "chmod", "-R", "u=rwX,go=rX", to); err != nil {
		return err
	}
	return nil
}

// The mount exists only inside the namespace of the copying process, and its
// loop device only as long as the mount: nothing can be left behind.
func extractRootArgv(img string, root Partition, tree string) []string {
	return []string{
		"unshare", "--mount", "--propagation", "private", "--",
		"sh", "-euc", `mount -t ext4 -o "ro,noload,loop,offset=$2,sizelimit=$3" "$1" /mnt; exec cp -a --sparse=always /mnt/. "$4"`, "sh",
		img, fmt.Sprint(root.Start), fmt.Sprint(root.Size), tree,
	}
}
