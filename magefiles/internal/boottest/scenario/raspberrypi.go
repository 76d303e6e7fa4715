package scenario

import (
	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
)

// raspberryPi shows on QEMU's own model of the board what virt cannot: that the
// image's kernel, device tree, modules and card go together.
func raspberryPi() []boottest.Scenario {
	return []boottest.Scenario{{
		Name: "raspi3b", About: "the image's kernel, initramfs and device tree on QEMU's Raspberry Pi 3, from the card as far as SSH, with the modules that Docker and Swarm need",
		Device: boottest.Device{Board: machine.Pi3, CardSize: 8 << 30},
		Phases: []boottest.Phase{{Name: "first boot", Checks: []boottest.Check{
			kernelStarts(),
			consoleShows("board", `Machine model: Raspberry Pi 3 Model B`),
			consoleShows("initramfs", `Run /init as init process`),
			slowly(sshAnswers()),
			rootGrown(),
			says("modules", "the kernel has those of nftables, of Swarm's networks and of zram",
				"modprobe --all nf_tables vxlan ip_vs zram overlay br_netfilter && echo loaded", "loaded"),
			matches("memory", "it can be limited by control groups", "cat /sys/fs/cgroup/cgroup.controllers", `\bmemory\b`),
		}}},
	}, {
		Name: "raspi4b", About: "the image's kernel and device tree on QEMU's Raspberry Pi 4, from the card into userspace",
		Device: boottest.Device{Board: machine.Pi4},
		Phases: []boottest.Phase{{Name: "first boot", Checks: []boottest.Check{
			kernelStarts(),
			consoleShows("board", `Machine model: Raspberry Pi 4 Model B`),
			consoleShows("initramfs", `Run /init as init process`),
			consoleShows("root file system", `EXT4-fs \(sd[a-z]2\): mounted filesystem`),
			consoleShows("systemd", `systemd\[1\]: Hostname set to <`),
			consoleShows("file systems", `systemd\[1\]: Reached target local-fs\.target`),
			consoleShows("growth", `CUBEOS: the root file system has`),
			consoleShows("login prompts", `systemd\[1\]: Reached target getty\.target`),
			consoleShows("SSH", `systemd\[1\]: Started ssh\.service`),
		}}},
	}}
}

// slowly gives a check the time of four emulated processors on few real ones.
func slowly(c boottest.Check) boottest.Check {
	c.Bound = firstBound
	return c
}
