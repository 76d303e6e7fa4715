// Package device tests what runs on the device: the boot scripts in firstboot/
// with a temporary root and stand-ins for the programs they call, the
// provisioning scripts in packer/scripts, and the files in configs/.
package device
