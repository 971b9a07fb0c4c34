package main

import (
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
	fmt.Fprintf(stdout, "%s\n", body)
	if status != fasthttp.StatusOK {
		return exitStart
	}
	return exitOK
}
