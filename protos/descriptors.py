"""The one private descriptor pool that holds Bascule's generated messages.

Protobuf's default pool takes each full name once, and tritonclient registers the same `inference.*`
names there. With a pool of our own both can be imported into one process, in either order; the
bytes are the same.
"""

from typing import Final

from google.protobuf.descriptor_pool import DescriptorPool

POOL: Final = DescriptorPool()
