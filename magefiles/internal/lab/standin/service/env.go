// Package service has what the stand-ins share: their environment and how they
// listen and answer.
package service

import (
	"strings"
)

// Env is the environment of a service's container.
type Env map[string]string

// Environ reads an environment as os.Environ gives it.
func Environ(environ []string) Env {
	e := Env{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		e[name] = value
	}
	return e
}

// Or returns the value of a variable, or fallback if it is empty.
func (e Env) Or(name, fallback string) string {
	if value := e[name]; value != "" {
		return value
	}
	return fallback
}
