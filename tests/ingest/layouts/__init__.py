"""Trees of files as public data sets lay them out, with what each is to be drafted as."""

from tests.ingest.layouts import issue, more, pictures, third, volumes

LAYOUTS = {**issue.LAYOUTS, **volumes.LAYOUTS, **pictures.LAYOUTS, **more.LAYOUTS, **third.LAYOUTS}
