package contract

import "net/http"

// hal needs a HAL with keys, and one of them as the user. It changes nothing.
func hal() Suite {
	key := map[string]string{"X-HAL-Key": "{user}"}
	return Suite{Service: "cubeos-hal", Login: "${HAL_CORE_KEY}:", Steps: []Step{
		{Name: "health without a key", Path: "/health", Status: http.StatusOK, Want: `{"status": "<any>"}`},
		{Name: "the same below /hal", Path: "/hal/health", Status: http.StatusOK},
		{Name: "anything else without a key", Path: "/hal/system/os", Status: http.StatusUnauthorized, Want: `{"error": "missing X-HAL-Key header", "code": 401}`},
		{Name: "with a wrong key", Path: "/hal/system/os", Header: map[string]string{"X-HAL-Key": "wrong"}, Status: http.StatusUnauthorized, Want: `{"error": "invalid API key", "code": 401}`},
		{Name: "with a key", Path: "/hal/system/os", Header: key, Status: http.StatusOK, Want: `{"id": "<any>", "pretty_name": "<any>"}`},
		{Name: "a unit that is not its", Method: http.MethodPost, Path: "/hal/system/service/no-such-unit/restart", Header: key, Status: http.StatusNotImplemented,
			Want: `{"error": "service not in allowlist: no-such-unit", "code": 501}`},
		{Name: "a container that is not its", Method: http.MethodPost, Path: "/hal/system/service/npm/recreate", Header: key, Status: http.StatusForbidden, Want: `{"code": 403}`},
		{Name: "interfaces", Path: "/hal/network/interfaces", Header: key, Status: http.StatusOK, Want: `{"interfaces": "<any>"}`},
		{Name: "one interface, in other words", Path: "/hal/network/interface/lo", Header: key, Status: http.StatusOK, Want: `{"ifname": "lo", "addr_info": "<any>"}`},
		{Name: "an interface that is none", Path: "/hal/network/interface/no-such-if0", Header: key, Status: http.StatusNotFound, Want: `{"error": "interface not found", "code": 404}`},
		{Name: "a netplan that is none", Method: http.MethodPost, Path: "/hal/network/netplan", Header: key, Body: `{"yaml": "version: 1"}`, Status: http.StatusBadRequest},
		{Name: "a rule for an interface that is none", Method: http.MethodPost, Path: "/hal/firewall/nat/enable", Header: key, Body: `{"source": "192.0.2.0/24", "out_interface": "eth0; true"}`, Status: http.StatusBadRequest},
		{Name: "forwarding", Path: "/hal/firewall/forwarding", Header: key, Status: http.StatusOK, Want: `{"enabled": "<any>", "value": "<any>"}`},
	}}
}
