package cpu

import xcpu "golang.org/x/sys/cpu"

const bestLevel = "avx512bf16"

func nativeLevels() []*level {
	x := xcpu.X86
	var all []*level
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasFMA {
		full := avx512Kernels()
		vnni := full
		vnni.dot, vnni.roundBF16, vnni.pairRows, vnni.softmaxBF16, vnni.peakBF16 = nil, nil, nil, nil, nil
		plain := vnni
		plain.q8, plain.q4, plain.quantizeRow, plain.peakVNNI = nil, nil, nil, nil
		if x.HasAVX512BF16 && x.HasAVX512VNNI {
			all = append(all, &level{"avx512bf16", "avx512+bf16+vnni", 16, 14, 32, full})
		}
		if x.HasAVX512VNNI {
			all = append(all, &level{"avx512vnni", "avx512+vnni", 16, 14, 32, vnni})
		}
		all = append(all, &level{"avx512", "avx512", 16, 14, 32, plain})
	}
	if x.HasAVX2 && x.HasFMA && x.HasF16C {
		all = append(all, &level{"avx2", "avx2+fma", 8, 6, 16, avx2Kernels()})
	}
	return all
}
