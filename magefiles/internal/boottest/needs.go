package boottest

import (
	"cmp"
	"fmt"
)

// Need is something of the emulator's that no real device offers.
type Need string

// What checks need. All else can be asked of any device.
const (
	NeedConsole    Need = "the emulator's console"
	NeedPower      Need = "power that a program can cut and give back"
	NeedCable      Need = "a network cable that a program can pull out"
	NeedCapture    Need = "QEMU's own network and its record of it"
	NeedRadios     Need = "simulated radios, of which one is a client's"
	NeedArtifact   Need = "the image file that the card was made from"
	NeedCard       Need = "the card's content, read from outside"
	NeedAnother    Need = "another device beside it"
	NeedEmulated   Need = "a device that is emulated"
	NeedNoWatchdog Need = "a machine without a watchdog"
)

// needs says what an emulator is needed for so that a device can be like this; "" is
// nothing.
func (d Device) needs() Need {
	switch {
	case d.Board != "":
		return "QEMU's model " + Need(d.Board)
	case d.Customise != nil:
		return "a card whose boot partition is written for it"
	case d.CardSize != 0:
		return "a card of a size of its own"
	case d.MemoryMiB != 0:
		return "a machine with less memory"
	case d.NoRadio:
		return "a machine without a radio"
	case d.Unplugged:
		return NeedCable
	case d.Clock != "":
		return "a clock that can be set from outside"
	}
	return "" // every Raspberry Pi has a watchdog
}

// needs says what an emulator is needed for before anything can be asked.
func (sc Scenario) needs() Need {
	need := sc.Device.needs()
	if sc.Beside {
		need = cmp.Or(need, NeedAnother)
	}
	if sc.Cuts != nil {
		need = cmp.Or(need, NeedPower)
	}
	return need
}

// needs says what an emulator is needed for in a phase: that of a step, without which
// the phase is another one. What only looks can be left out.
func (p Phase) needs() (why string) {
	for _, c := range p.Checks {
		if c.Once && c.Needs != "" {
			return fmt.Sprintf("%s needs %s", c.Name, c.Needs)
		}
	}
	return ""
}

// OnHardware returns how much of a scenario a real device can be asked: all phases
// up to the first one that has a step which it can not take, and why it is not more.
// One that changes the device is played in whole or not at all.
func (sc Scenario) OnHardware() (phases []Phase, why string) {
	if need := sc.needs(); need != "" {
		return nil, "it needs " + string(need)
	}
	for _, p := range sc.Phases {
		if why := p.needs(); why != "" {
			if !sc.Harmless {
				return nil, why
			}
			return phases, why
		}
		phases = append(phases, p)
	}
	return phases, ""
}
