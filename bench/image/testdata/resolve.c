// What a dynamically linked server does first: it opens a library by its name,
// as it opens NVIDIA's driver, and asks for a host through the name service.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void) {
	void *lib = dlopen("libm.so.6", RTLD_NOW);
	double (*cube_root)(double) = lib ? (double (*)(double))dlsym(lib, "cbrt") : 0;
	if (!cube_root) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
	int code = getaddrinfo("model-host", "80", &hints, &found);
	if (code) {
		fprintf(stderr, "%s\n", gai_strerror(code));
		return 1;
	}
	char text[INET_ADDRSTRLEN];
	struct sockaddr_in *address = (struct sockaddr_in *)found->ai_addr;
	inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
	printf("%g %s\n", cube_root(27), text);
	return 0;
}
