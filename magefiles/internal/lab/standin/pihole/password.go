package pihole

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// What FTL makes its hashes with.
const (
	saltSize   = 16
	spaceCost  = 1024
	timeCost   = 32
	mixes      = 3 // blocks mixed into each; fixed in nettle
	hashPrefix = "$BALLOON-SHA256$v=1$s=1024,t=32$"
)

// hash makes what webserver.api.pwhash holds.
func hash(password string) string {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return hashPrefix + base64.StdEncoding.EncodeToString(salt) + "$" + base64.StdEncoding.EncodeToString(balloon(password, salt, spaceCost, timeCost))
}

// verify tells whether a hash is the password's, and whether it is one of
// Pi-hole 5's: SHA-256 in hexadecimal digits, twice. FTL takes such a hash, too,
// so that a script can set a password without FTL's help.
func verify(password, hashed string) (right, legacy bool) {
	if password == "" || hashed == "" {
		return false, false
	}
	if !strings.HasPrefix(hashed, "$") {
		return subtle.ConstantTimeCompare([]byte(hashed), []byte(legacyHash(password))) == 1, true
	}
	rest, ok := strings.CutPrefix(hashed, hashPrefix)
	if !ok {
		return false, false
	}
	encodedSalt, encodedHash, _ := strings.Cut(rest, "$")
	salt, err1 := base64.StdEncoding.DecodeString(encodedSalt)
	want, err2 := base64.StdEncoding.DecodeString(encodedHash)
	if err1 != nil || err2 != nil || len(salt) != saltSize {
		return false, false
	}
	return subtle.ConstantTimeCompare(want, balloon(password, salt, spaceCost, timeCost)) == 1, false
}

func legacyHash(password string) string {
	once := sha256.Sum256([]byte(password))
	twice := sha256.Sum256(fmt.Appendf(nil, "%x", once))
	return hex.EncodeToString(twice[:])
}

// balloon is the Balloon hash (Boneh, Corrigan-Gibbs and Schechter) with
// SHA-256, as nettle's balloon_sha256 has it.
func balloon(password string, salt []byte, space, rounds int) []byte {
	var count uint64
	var block []byte // used again and again: there are hundreds of thousands
	sum := func(a, b []byte) [sha256.Size]byte {
		block = binary.LittleEndian.AppendUint64(block[:0], count)
		count++
		block = append(append(block, a...), b...)
		return sha256.Sum256(block)
	}
	blocks := make([][sha256.Size]byte, space)
	blocks[0] = sum([]byte(password), salt)
	for i := 1; i < space; i++ {
		blocks[i] = sum(blocks[i-1][:], nil)
	}
	for round := range rounds {
		for i := range blocks {
			blocks[i] = sum(blocks[(i+space-1)%space][:], blocks[i][:])
			for mix := range mixes {
				var at [24]byte
				binary.LittleEndian.PutUint64(at[:], uint64(round))
				binary.LittleEndian.PutUint64(at[8:], uint64(i))
				binary.LittleEndian.PutUint64(at[16:], uint64(mix))
				index := sha256.Sum256(at[:])
				index = sum(salt, index[:])
				blocks[i] = sum(blocks[i][:], blocks[remainder(index[:], space)][:])
			}
		}
	}
	return blocks[space-1][:]
}

// remainder reads a number, its least significant byte first, modulo n.
func remainder(number []byte, n int) int {
	r := 0
	for _, digit := range slices.Backward(number) {
		r = (r<<8 + int(digit)) % n
	}
	return r
}
