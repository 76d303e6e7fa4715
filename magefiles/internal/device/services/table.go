package services

import (
	"fmt"
	"strings"
)

// Table is the list as a table in Markdown, for people, with the names that a
// device of that domain and address has.
func (l List) Table(domain, address string) string {
	var b strings.Builder
	b.WriteString("| service | how it runs | ports, and who reaches them | names |\n|---|---|---|---|\n")
	for _, s := range l {
		title := fmt.Sprintf("%s, `%s`", s.Title, s.Name)
		if s.Optional {
			title += ", optional"
		}
		runs := fmt.Sprintf("container `%s`", s.ContainerName())
		if s.Kind == Stack {
			runs = fmt.Sprintf("Swarm service `%s`", s.SwarmService())
		}
		var ports, names []string
		for _, p := range s.Ports {
			ports = append(ports, p.row())
		}
		for _, host := range s.Hosts(domain, address) {
			names = append(names, fmt.Sprintf("`http://%s`", host))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", title, runs, strings.Join(ports, "<br>"), strings.Join(names, ", "))
	}
	return b.String()
}

func (p Port) row() string {
	number := fmt.Sprint(p.Port)
	if len(p.Protocols) > 1 || p.Protocols[0] != "tcp" {
		number += " (" + strings.Join(p.Protocols, ", ") + ")"
	}
	who := "every network"
	if p.Reach != Network {
		who = "this device only"
	}
	return fmt.Sprintf("%s, %s: %s", number, who, p.About)
}
