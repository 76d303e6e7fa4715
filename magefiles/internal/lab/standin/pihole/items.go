package pihole

import "strings"

// valueType is what a setting holds.
type valueType string

// Their names are the words of FTL's own errors.
const (
	boolean    valueType = "bool"
	integer    valueType = "integer"
	unsigned   valueType = "unsigned integer"
	unsigned16 valueType = "unsigned integer (16bit)"
	double     valueType = "number"
	text       valueType = "string"
	enum       valueType = "enum"
	list       valueType = "array"
	address4   valueType = "IPv4 address"
	address6   valueType = "IPv6 address"
	password   valueType = "password" // only its hash is kept
)

// item is a setting of FTL.
type item struct {
	key      string
	typ      valueType
	fallback any  // what it is unless set: a bool, int64, float64, string or []string; nil is the zero value
	restarts bool // FTL restarts when it is changed
}

// section is the table of the file that the item is in.
func (i item) section() string { return i.key[:strings.LastIndex(i.key, ".")] }

// zero returns the value of an item that is not set.
func (i item) zero() any {
	if i.fallback != nil {
		return i.fallback
	}
	switch i.typ {
	case boolean:
		return false
	case integer, unsigned, unsigned16:
		return int64(0)
	case double:
		return 0.0
	case list:
		return []string{}
	}
	return ""
}

// items is every setting of FTL 6.4.1 (src/config/config.c), except debug.*.
func items() []item {
	return []item{
		{"dns.upstreams", list, nil, true},
		{"dns.CNAMEdeepInspect", boolean, true, false},
		{"dns.blockESNI", boolean, true, false},
		{"dns.EDNS0ECS", boolean, true, false},
		{"dns.ignoreLocalhost", boolean, nil, false},
		{"dns.showDNSSEC", boolean, true, false},
		{"dns.analyzeOnlyAandAAAA", boolean, nil, false},
		{"dns.piholePTR", enum, "PI.HOLE", true},
		{"dns.replyWhenBusy", enum, "ALLOW", false},
		{"dns.blockTTL", unsigned, int64(2), false},
		{"dns.hosts", list, nil, false},
		{"dns.domainNeeded", boolean, nil, true},
		{"dns.expandHosts", boolean, nil, true},
		{"dns.bogusPriv", boolean, true, true},
		{"dns.dnssec", boolean, nil, true},
		{"dns.interface", text, nil, true},
		{"dns.hostRecord", text, nil, true},
		{"dns.listeningMode", enum, "LOCAL", true},
		{"dns.queryLogging", boolean, true, true},
		{"dns.cnameRecords", list, nil, true},
		{"dns.port", unsigned16, int64(53), true},
		{"dns.localise", boolean, true, true},
		{"dns.revServers", list, nil, false},
		{"dns.domain.name", text, "lan", true},
		{"dns.domain.local", boolean, true, true},
		{"dns.cache.size", unsigned, int64(10000), true},
		{"dns.cache.optimizer", integer, int64(3600), true},
		{"dns.cache.upstreamBlockedTTL", unsigned, int64(86400), false},
		{"dns.blocking.active", boolean, true, false},
		{"dns.blocking.mode", enum, "NULL", false},
		{"dns.blocking.edns", enum, "TEXT", false},
		{"dns.specialDomains.mozillaCanary", boolean, true, false},
		{"dns.specialDomains.iCloudPrivateRelay", boolean, true, false},
		{"dns.specialDomains.designatedResolver", boolean, true, false},
		{"dns.reply.host.force4", boolean, nil, false},
		{"dns.reply.host.IPv4", address4, nil, false},
		{"dns.reply.host.force6", boolean, nil, false},
		{"dns.reply.host.IPv6", address6, nil, false},
		{"dns.reply.blocking.force4", boolean, nil, false},
		{"dns.reply.blocking.IPv4", address4, nil, false},
		{"dns.reply.blocking.force6", boolean, nil, false},
		{"dns.reply.blocking.IPv6", address6, nil, false},
		{"dns.rateLimit.count", unsigned, int64(1000), false},
		{"dns.rateLimit.interval", unsigned, int64(60), false},
		{"dhcp.active", boolean, nil, true},
		{"dhcp.start", address4, nil, true},
		{"dhcp.end", address4, nil, true},
		{"dhcp.router", address4, nil, true},
		{"dhcp.netmask", address4, nil, true},
		{"dhcp.leaseTime", text, nil, true},
		{"dhcp.ipv6", boolean, nil, true},
		{"dhcp.multiDNS", boolean, nil, true},
		{"dhcp.rapidCommit", boolean, nil, true},
		{"dhcp.logging", boolean, nil, true},
		{"dhcp.ignoreUnknownClients", boolean, nil, true},
		{"dhcp.hosts", list, nil, true},
		{"ntp.ipv4.active", boolean, true, true},
		{"ntp.ipv4.address", address4, nil, true},
		{"ntp.ipv6.active", boolean, true, true},
		{"ntp.ipv6.address", address6, nil, true},
		{"ntp.sync.active", boolean, true, true},
		{"ntp.sync.server", text, "pool.ntp.org", false},
		{"ntp.sync.interval", unsigned, int64(3600), false},
		{"ntp.sync.count", unsigned, int64(8), false},
		{"ntp.sync.rtc.set", boolean, nil, false},
		{"ntp.sync.rtc.device", text, nil, false},
		{"ntp.sync.rtc.utc", boolean, true, false},
		{"resolver.resolveIPv6", boolean, true, false},
		{"resolver.resolveIPv4", boolean, true, false},
		{"resolver.networkNames", boolean, true, false},
		{"resolver.refreshNames", enum, "IPV4_ONLY", false},
		{"database.DBimport", boolean, true, false},
		{"database.maxDBdays", integer, int64(91), false},
		{"database.DBinterval", unsigned, int64(60), false},
		{"database.useWAL", boolean, true, true},
		{"database.network.parseARPcache", boolean, true, false},
		{"database.network.expire", unsigned, int64(91), false},
		{"webserver.domain", text, "pi.hole", true},
		{"webserver.acl", text, nil, true},
		{"webserver.port", text, "80o,443os,[::]:80o,[::]:443os", true},
		{"webserver.threads", unsigned, int64(50), true},
		{"webserver.headers", list, nil, true},
		{"webserver.serve_all", boolean, nil, false},
		{"webserver.advancedOpts", list, nil, true},
		{"webserver.tls.validity", unsigned, int64(47), false},
		{"webserver.session.timeout", unsigned, int64(1800), false},
		{"webserver.session.restore", boolean, true, false},
		{"webserver.tls.cert", text, "/etc/pihole/tls.pem", true},
		{"webserver.paths.webroot", text, "/var/www/html", true},
		{"webserver.paths.webhome", text, "/admin/", true},
		{"webserver.paths.prefix", text, nil, true},
		{"webserver.interface.boxed", boolean, true, false},
		{"webserver.interface.theme", enum, "default-auto", false},
		{"webserver.api.max_sessions", unsigned16, int64(16), true},
		{"webserver.api.prettyJSON", boolean, nil, false},
		{"webserver.api.pwhash", text, nil, false},
		{"webserver.api.password", password, nil, false},
		{"webserver.api.totp_secret", text, nil, false},
		{"webserver.api.app_pwhash", text, nil, false},
		{"webserver.api.app_sudo", boolean, nil, false},
		{"webserver.api.cli_pw", boolean, true, true},
		{"webserver.api.excludeClients", list, nil, false},
		{"webserver.api.excludeDomains", list, nil, false},
		{"webserver.api.maxHistory", unsigned, int64(86400), true},
		{"webserver.api.maxClients", unsigned16, int64(10), false},
		{"webserver.api.client_history_global_max", boolean, true, false},
		{"webserver.api.allow_destructive", boolean, true, false},
		{"webserver.api.temp.limit", double, 60.0, false},
		{"webserver.api.temp.unit", enum, "C", false},
		{"files.pid", text, "/run/pihole-FTL.pid", true},
		{"files.database", text, "/etc/pihole/pihole-FTL.db", false},
		{"files.gravity", text, "/etc/pihole/gravity.db", true},
		{"files.gravity_tmp", text, "/tmp", true},
		{"files.macvendor", text, "/etc/pihole/macvendor.db", false},
		{"files.pcap", text, nil, true},
		{"files.log.dnsmasq", text, "/var/log/pihole/pihole.log", true},
		{"files.log.webserver", text, "/var/log/pihole/webserver.log", true},
		{"misc.privacylevel", integer, nil, false},
		{"misc.delay_startup", unsigned, nil, false},
		{"misc.nice", integer, int64(-10), true},
		{"misc.addr2line", boolean, true, false},
		{"misc.etc_dnsmasq_d", boolean, nil, true},
		{"misc.dnsmasq_lines", list, nil, true},
		{"misc.extraLogging", boolean, nil, true},
		{"misc.readOnly", boolean, nil, false},
		{"misc.normalizeCPU", boolean, true, false},
		{"misc.hide_dnsmasq_warn", boolean, nil, false},
		{"misc.check.load", boolean, true, false},
		{"misc.check.disk", unsigned, int64(90), false},
		{"misc.check.shmem", unsigned, int64(90), false},
	}
}
