"""Writes one small image of every layout that Inspect reads, with Pillow; the
names tell format, width and height: <layout>.<width>x<height>.<extension>"""
import os

from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))
W, H = 37, 23


def picture(mode="RGB", w=W, h=H, shift=0):
    im = Image.new("RGB", (w, h))
    im.putdata([((x * 7 + shift) % 256, y * 11 % 256, (x + y) * 5 % 256) for y in range(h) for x in range(w)])
    return im.convert(mode)


def save(im, layout, extension, **options):
    im.save(os.path.join(here, f"{layout}.{im.width}x{im.height}.{extension}"), **options)


rgb, more = picture(), [picture(shift=90), picture(shift=180)]
exif = Image.Exif()
exif[0x0112] = 6  # orientation: a quarter turn; the size stays that of the file
save(rgb, "baseline", "jpeg")
save(rgb, "progressive", "jpeg", progressive=True)
save(picture("CMYK"), "cmyk", "jpeg")
save(picture("L"), "grey", "jpeg")
save(rgb, "rotated", "jpeg", exif=exif)
save(rgb, "profile", "jpeg", icc_profile=b"\xff\xc0" * 300, comment=b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff")
save(rgb, "rgb", "png")
save(picture("RGBA"), "rgba", "png")
save(picture("P"), "palette", "png", transparency=3)
save(picture("L").convert("I;16"), "sixteen", "png")
save(picture("1"), "bits", "png")
save(rgb, "animated", "png", save_all=True, append_images=more)
save(rgb, "still", "gif")
save(rgb, "animated", "gif", save_all=True, append_images=more, duration=40)
save(rgb, "lossy", "webp", quality=30)
save(rgb, "lossless", "webp", lossless=True)
glass = picture("RGBA")
glass.putalpha(picture("L"))
save(glass, "alpha", "webp", quality=30)
save(rgb, "exif", "webp", exif=exif)
save(rgb, "animated", "webp", save_all=True, append_images=more, quality=20)
save(rgb, "rgb", "bmp")
save(picture("P"), "palette", "bmp")
save(rgb, "raw", "tiff")
save(rgb, "lzw", "tiff", compression="tiff_lzw")
save(picture("L"), "grey", "tiff", compression="tiff_adobe_deflate")
save(picture("L").convert("I;16B"), "motorola", "tiff")
save(rgb.resize((1, 1)), "dot", "png")
save(rgb.resize((1, 1)), "dot", "webp", quality=30)
save(Image.new("RGB", (1, 1000)), "strip", "jpeg", quality=1)
save(Image.new("L", (300, 1)), "strip", "bmp")
