//go:build mage

package main

import "github.com/cubeos-app/releases/magefiles/internal/sys/process"

// Every target begins here, and so does the program that `elevate` starts again
// as root: mage's own main calls nothing of ours before a target.
func init() {
	if err := process.IgnoreCaller(); err != nil {
		panic(err)
	}
}
