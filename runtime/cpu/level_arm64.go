package cpu

const bestLevel = "neon"

func nativeLevels() []*level {
	return []*level{{"neon", "neon", 4, 6, 16, neonKernels()}}
}
