package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// healthTime bounds the command health.
const healthTime = 5 * time.Second

// health is the command that asks the server of this machine, on the port that
// the flags and variables name, whether it can answer for its model. Container
// engines without a shell in the image call it.
func health(c *config, stdout, stderr io.Writer) int {
	host := c.host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	status, body, err := fasthttp.GetTimeout(nil, "http://"+net.JoinHostPort(host, strconv.Itoa(c.port))+"/v2/health/ready", healthTime)
	if err != nil {
		fmt.Fprintln(stderr, "health:", err)
		return exitStart
	}
	var answer struct{ Ready *bool }
	if json.Unmarshal(body, &answer) != nil || answer.Ready == nil {
		fmt.Fprintf(stderr, "health: what answers on port %d with status %d is not this server\n", c.port, status)
		return exitStart
	}
	fmt.Fprintf(stdout, "{\"ready\":%v}\n", *answer.Ready)
	if !*answer.Ready {
		return exitStart
	}
	return exitOK
}
