"""Where a cell looks: stride, offset and receptive field, and the crops and kernels that follow from them.

The authors' nets hold typed-in numbers: crops of 19, 5, 27, 9 and 31 cells, upsampling kernels of 64, 4 and 63.
Here all of them follow from one record per feature map, so that they are right for any backbone and padding.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Grid:
    """The pixels that the cells of a feature map look at, the same for rows and columns.

    Attributes:
        stride: distance between the centres of neighbouring cells, in pixels of the image.
        offset: pixel on which cell 0 is centred; halves occur, and negative values lie in the padding.
        field: side of the square of pixels that one cell sees, its receptive field.
    """

    stride: int = 1
    offset: float = 0.0
    field: int = 1

    def conv(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Grid":
        """Returns the grid after a convolution or a pooling of this shape.

        Args:
            kernel: side of the kernel, in cells.
            stride: step of the kernel, in cells.
            padding: cells added on each side.
            dilation: distance between the kernel's taps, in cells.
        """
        reach = dilation * (kernel - 1)
        return Grid(
            stride=self.stride * stride,
            offset=self.offset + self.stride * (reach / 2 - padding),
            field=self.field + self.stride * reach,
        )

    def upsample(self, kernel: int, stride: int) -> "Grid":
        """Returns the grid after a transposed convolution without padding.

        Args:
            kernel: side of the kernel, in cells of the result.
            stride: how many cells of the result one cell of this grid becomes.

        Raises:
            ValueError: the stride of this grid is no multiple of ``stride``.
        """
        if self.stride % stride:
            raise ValueError(
                f"a map of stride {self.stride} cannot be upsampled {stride} times: it would need subpixels"
            )
        fine = self.stride // stride
        neighbours = -(-kernel // stride) - 1
        return Grid(fine, self.offset - fine * (kernel - 1) / 2, self.field + self.stride * neighbours)

    def crop(self, cells: int) -> "Grid":
        """Returns the grid without its first ``cells`` cells."""
        return replace(self, offset=self.offset + self.stride * cells)

    def crop_to(self, target: "Grid") -> int:
        """Returns how many leading cells to drop so that cell 0 lies on the target's cell 0.

        A negative number says that the target begins before this grid does: drop that many of the target's.

        Raises:
            ValueError: the strides differ, or the cells of the two grids never coincide.
        """
        cells = (target.offset - self.offset) / self.stride
        if self.stride != target.stride or not cells.is_integer():
            raise ValueError(f"the cells of {self} and {target} do not coincide, so no crop aligns them")
        return int(cells)


IMAGE = Grid()
"""The image itself: one cell a pixel."""


def bilinear_kernel_size(source: Grid, target: Grid) -> int:
    """Returns the side of the bilinear kernel that carries ``source`` onto the cells of ``target``.

    A kernel of 2s upsamples s times and moves the centres by half a cell of the result. After pooling with
    even windows that is just right; after odd windows (3x3 in AlexNet) it misses by half a cell and the kernel must be
    2s - 1. The authors' 64, 32, 16, 4 and AlexNet's 63 all come out of this.

    Args:
        source: grid of the coarse map.
        target: grid of the finer map, or the image's.

    Raises:
        ValueError: neither kernel lands on the target's cells.

    Paper: Sec. 3.3
    """
    factor = source.stride // target.stride
    for kernel in (2 * factor, 2 * factor - 1):
        shift = (target.offset - source.upsample(kernel, factor).offset) / target.stride
        if shift.is_integer():
            return kernel
    raise ValueError(f"no bilinear kernel carries {source} onto {target}")
