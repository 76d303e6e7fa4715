package contract

import "net/http"

// api needs an API whose wizard was not done yet, with its first account. It ends
// with the wizard skipped, and nothing else changed.
func api() Suite {
	bearer := map[string]string{"Authorization": "Bearer {token}"}
	return Suite{Service: "cubeos-api", Login: "admin:cubeos", Steps: []Step{
		{Name: "health", Path: "/health", Status: http.StatusOK, Want: `{"status": "healthy", "version": "<any>", "timestamp": "<any>", "uptime_seconds": "<any>"}`},
		{Name: "anything before the wizard", Path: "/api/v1/network/mode", Status: http.StatusPreconditionRequired,
			Want: `{"error": "Setup required", "setup_required": true, "redirect": "/setup"}`},
		{Name: "how far the wizard is", Path: "/api/v1/setup/status", Status: http.StatusOK, Want: `{"is_complete": false, "skip_ap_step": "<any>"}`},
		{Name: "what it begins with", Path: "/api/v1/setup/defaults", Status: http.StatusOK,
			Want: `{"admin_username": "admin", "hostname": "<any>", "wifi_ssid": "CubeOS", "wifi_password": "cubeos1234", "country_code": "NL", "timezone": "UTC"}`},
		{Name: "whether there is a wired network", Path: "/api/v1/setup/ethernet-status", Status: http.StatusOK, Want: `{"available": "<any>", "carrier": "<any>", "ip": "<any>"}`},
		{Name: "bad input", Method: http.MethodPost, Path: "/api/v1/setup/validate", Status: http.StatusOK,
			Body: `{"admin_username": "Owner", "admin_password": "short", "hostname": "Boat!", "wifi_ssid": "", "wifi_password": "short"}`,
			Want: `{"valid": false, "errors": {"admin_username": "<any>", "admin_password": "<any>", "hostname": "<any>", "wifi_ssid": "<any>", "wifi_password": "<any>"}}`},
		{Name: "no JSON", Method: http.MethodPost, Path: "/api/v1/setup/validate", Body: `none`, Status: http.StatusBadRequest, Want: `{"error": "invalid request body"}`},
		{Name: "JSON that a page of another site can send", Method: http.MethodPost, Path: "/api/v1/setup/validate", Header: map[string]string{"Content-Type": "text/plain"}, Status: http.StatusOK,
			Body: `{"admin_username": "owner", "admin_password": "correct horse", "hostname": "boat", "wifi_ssid": "Boat", "wifi_password": "battery staple"}`,
			Want: `{"valid": true}`},
		{Name: "applying bad input", Method: http.MethodPost, Path: "/api/v1/setup/apply", Body: `{"admin_username": "owner"}`, Status: http.StatusInternalServerError, Text: "setup failed: workflow permanent: validation failed: "},
		{Name: "a wrong password", Method: http.MethodPost, Path: "/api/v1/auth/login", Body: `{"username": "{user}", "password": "wrong"}`, Status: http.StatusUnauthorized,
			Want: `{"error": "Invalid credentials", "code": 401}`},
		{Name: "the password", Method: http.MethodPost, Path: "/api/v1/auth/login", Body: `{"username": "{user}", "password": "{password}"}`, Status: http.StatusOK,
			Want: `{"access_token": "<token>", "token_type": "bearer", "expires_in": 86400, "user": {"username": "{user}", "role": "admin"}}`},
		{Name: "a token does not go before the wizard", Path: "/api/v1/network/mode", Header: bearer, Status: http.StatusPreconditionRequired},

		{Name: "skipping the wizard", Method: http.MethodPost, Path: "/api/v1/setup/skip", Status: http.StatusOK, Want: `{"success": true, "skipped": true}`},
		{Name: "doing it again", Method: http.MethodPost, Path: "/api/v1/setup/complete", Status: http.StatusOK, Want: `{"success": true, "already_complete": true}`},
		{Name: "that it is done", Path: "/api/v1/setup/status", Status: http.StatusOK, Want: `{"is_complete": true}`},
		{Name: "anything without a token", Path: "/api/v1/network/mode", Status: http.StatusUnauthorized, Want: `{"error": "Missing authorization header", "code": 401}`},
		{Name: "with a forged one", Path: "/api/v1/network/mode", Header: map[string]string{"Authorization": "Bearer a.b.c"}, Status: http.StatusUnauthorized, Want: `{"error": "Invalid or expired token", "code": 401}`},
		{Name: "oneself", Path: "/api/v1/auth/me", Header: bearer, Status: http.StatusOK, Want: `{"username": "{user}", "role": "admin"}`},
		{Name: "the mode", Path: "/api/v1/network/mode", Header: bearer, Status: http.StatusOK, Want: `{"mode": "offline_hotspot", "description": "<any>"}`},
		{Name: "a mode that is none", Method: http.MethodPost, Path: "/api/v1/network/mode", Header: bearer, Body: `{"mode": "sideways"}`, Status: http.StatusBadRequest},
		{Name: "a mode without its network", Method: http.MethodPost, Path: "/api/v1/network/mode", Header: bearer, Body: `{"mode": "wifi_bridge"}`, Status: http.StatusBadRequest},
		{Name: "a short password", Method: http.MethodPost, Path: "/api/v1/auth/password", Header: bearer, Body: `{"current_password": "{password}", "new_password": "short"}`, Status: http.StatusBadRequest},
		{Name: "a wrong old password", Method: http.MethodPost, Path: "/api/v1/auth/password", Header: bearer, Body: `{"current_password": "wrong", "new_password": "0123456789"}`, Status: http.StatusUnauthorized},
	}}
}
