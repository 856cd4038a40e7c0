"""What to write instead, where a places.csv follows another habit than this project's."""

import csv
import difflib
import pathlib
import re
import unicodedata

from tfds_builders.errors import RawDataError

HEADER_HELP = "the header is sequence,image,x,y (or lat,lon) and optionally heading,time,label"
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
UNITS = {
    "time": ", in seconds or as dates with an offset",
    "heading": ", in radians clockwise from north",
}
HABITS = {  # other names of the columns, in small letters
    "sequence": "split,seq,sequence_id,sequence_key,run,drive,traversal",
    "image": "file,filename,file_name,path,img,image_path,image_name,name",
    "lat": "latitude",
    "lon": "longitude,lng,long",
    "x": "easting,east,utm_east,utm_x,pos_x,position_x",
    "y": "northing,north,utm_north,utm_y,pos_y,position_y",
    "heading": "yaw,azimuth,bearing,compass,compass_angle,angle,course,northdeg",
    "time": "timestamp,datetime,date,stamp,t,time_s,time_ms,time_us,time_ns,utime,unix_time",
    "label": "place,place_id,class,class_id,room",
}
# Numbers beyond the seconds of any year that a record holds, and the unit that they then have.
CLOCKS = ((1e14, "milliseconds", "1,000"), (1e17, "microseconds", "1,000,000"))
NANOSECONDS = ("nanoseconds", "1,000,000,000")
# Beginnings of files that are no text, and what a program saved there.
NO_TEXT = ((b"PK", "a spreadsheet or a zip archive"), (b"\x1f\x8b", "compressed by gzip"))
LINES = 20  # that may stand above the header
UNKNOWN = ("", "nan")  # texts of a number that nobody knows, in small letters
OTHER_UNKNOWN = ("none", "null", "n/a", "na", "#n/a", "-", "?")  # of other programs
ZONES = ("zone", "utm_zone", "utmzone", "zone_number", "epsg", "crs", "srid")
ONE_ZONE = (
    "project the positions of all zones into one, e.g. by pyproj.Transformer.from_crs(32600 + ITS_ZONE, "
    "32600 + THE_ZONE, always_xy=True).transform(x, y), then remove the column"
)


def text(csv_path: pathlib.Path) -> str:
    """The file's text.

    Raises:
      RawDataError: it is missing or no UTF-8 text; the sentence says what else it is.
    """
    if not csv_path.is_file():
        folder, remedy = csv_path.parent, "write it"
        if deeper := sorted(folder.glob(f"*/{csv_path.name}")):
            remedy = f"give --manual_dir={deeper[0].parent}, or write it"
        elif others := sorted(folder.glob("*.[cC][sS][vV]")):
            remedy = f"rename {others[0].name}, or write it"
        raise RawDataError(f"{csv_path} does not exist; {remedy}: {HEADER_HELP}")
    data = csv_path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kind = next((kind for start, kind in NO_TEXT if data.startswith(start)), None)
        raise RawDataError(
            f"{csv_path} is {kind}, no text; write it out as CSV in UTF-8"
            if kind
            else f"{csv_path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error


def separator(line: str, known: tuple[str, ...]) -> str | None:
    """The sentence on a header whose fields something else than commas parts, or None."""
    if re.fullmatch("sep=.", line.strip(), re.IGNORECASE):
        return "the line is a spreadsheet's mark of its separator; remove it"
    if len(_known(line, ",", known)) > 1:
        return None
    for mark, name in SEPARATORS.items():
        if len(_known(line, mark, known)) > 1:
            return f"{name} part the columns; write commas, and decimal points in the numbers"
    return None


def above(text: str, known: tuple[str, ...]) -> str | None:
    """The line number and the sentence on lines above the header, or None."""
    for number, line in enumerate(re.split("\r\n|\r|\n", text[:20_000], maxsplit=LINES)[:LINES], 1):
        if len(_known(line, ",", known)) > 2:
            return (
                f"{number}: the header stands on this line; remove those above" * (number > 1)
                or None
            )
    return None


def _known(line: str, mark: str, known: tuple[str, ...]) -> set[str]:
    # A field beyond 131,072 letters is an error of csv's, which the reading of the table names.
    fields = next(csv.reader([line.strip()[:10_000]], delimiter=mark), [])
    return {field.strip().lower() for field in fields} & set(known)


def no_header(header: list[str]) -> bool:
    """Whether the first line is a row: four fields or more, with two numbers after an image."""
    return len(header) >= 4 and all(re.fullmatch(r"-?\d+(\.\d+)?", text) for text in header[2:4])


def column(name: str, known: tuple[str, ...], header: list[str]) -> str:
    """What to write for an unknown column, or "" where nothing is like it."""
    small = name.strip("\"' ").lower()
    for right in known:
        if right not in header and (small == right or small in HABITS.get(right, "").split(",")):
            return f"write {right!r}{UNITS.get(right, '')}"
    if small in ZONES and not {"lat", "lon"} & set(header):
        return ONE_ZONE
    near = difflib.get_close_matches(name, known, 1, 0.7)  # "alt" is no "lat"
    return f"did you mean {near[0]!r}?" if near else ""


def number(text: str) -> str:
    """What to write for a text that is no number, or ""."""
    text = text.replace("\N{MINUS SIGN}", "-")
    plain = text.replace(",", "")
    if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text):  # a decimal comma, or one between thousands
        return f"write {plain} or {text.replace(',', '.')}, whichever it means"
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text):
        return f"write {plain}, without separators between thousands"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"write {text.replace(',', '.')}, with a decimal point"
    if re.fullmatch(r"-\d+(\.\d*)?", text):
        return f"write {text}, with the hyphen as minus sign"
    return _degrees(text)


def _degrees(text: str) -> str:
    """What to write for degrees with minutes, seconds or a hemisphere, or ""."""
    form = r"([+-]?)(\d+(?:\.\d+)?)[°ºd\s]*(?:(\d+(?:\.\d+)?)\s*['′’m]\s*)?"
    form += r"(?:(\d+(?:\.\d+)?)\s*(?:[\"″”s]|'')\s*)?([NSEW]?)"
    match = re.fullmatch(form, text.strip())
    if match is None:
        return ""
    sign, *parts, side = match.groups()
    degrees = sum(float(part or 0) / 60**power for power, part in enumerate(parts))
    minus = "-" if sign == "-" or side in ("S", "W") else ""
    return f"write decimal degrees, {minus}{degrees:.7f}"


def rounded(text: str) -> float:
    """The step of a number that a program wrote with few digits, such as 10 for 5.73501e+06; else 0.

    Spreadsheets and C++'s streams shorten large numbers to six digits and less.
    """
    match = re.fullmatch(r"[+-]?\d(?:\.(\d+))?[eE]\+?(\d{1,2})", text)
    if match is None:
        return 0.0
    step = 10.0 ** (int(match[2]) - len(match[1] or ""))
    return step if step > 1 else 0.0


def clock(seconds: float) -> str:
    """What to write for a time too large for seconds."""
    unit, factor = next(((u, f) for most, u, f in CLOCKS if abs(seconds) < most), NANOSECONDS)
    return f"it looks like {unit}: divide the column by {factor}"


class Images:
    """The files below a table's folder, looked up with more patience than the file system has."""

    def __init__(self, folder: pathlib.Path):
        """Reads no folder yet."""
        self.folder = folder
        self._listed: dict[pathlib.Path, dict[str, str]] = {}

    def spelling(self, image: str) -> str:
        """What to write for a path that is no file, or "" where no file is like it.

        Backslashes, the folder's own name above, letter case, the Unicode form and the suffix may differ.
        """
        parts = [part for part in image.replace("\\", "/").split("/") if part not in ("", ".")]
        starts = [i + 1 for i, part in enumerate(parts) if part == self.folder.name]
        for start in (0, *starts):
            found = self._find(parts[start:])
            if found is None:
                continue
            wrote = "/".join(parts[start:])
            if found == wrote:
                return f"write {found!r}"
            if _form(found) == _form(wrote):
                return f"write {found!r} in the Unicode form of the file's name, {_forms(found)}"
            return f"write {found!r}, as on the disk"
        return ""

    def _find(self, parts: list[str]) -> str | None:
        """The path on the disk that these parts mean, relative to the folder."""
        folder, names = self.folder, []
        if not parts or ".." in parts:
            return None
        for part in parts:
            listed = self._names(folder)
            key = _form(part).casefold()
            name = listed.get(key)
            if name is None and part is parts[-1]:
                name = listed.get("*" + key.rpartition(".")[0])
            if name is None:
                return None
            names.append(name)
            folder = folder / name
        return "/".join(names) if folder.is_file() else None

    def _names(self, folder: pathlib.Path) -> dict[str, str]:
        """The names in a folder by their folded form; files of one stem also by `*stem`."""
        if folder not in self._listed:
            names: dict[str, str] = {}
            try:
                entries = sorted(path.name for path in folder.iterdir())
            except OSError:  # a file, or a folder that this user may not read
                entries = []
            for name in entries:
                key = _form(name).casefold()
                names.setdefault(key, name)
                names.setdefault("*" + key.rpartition(".")[0], name)
            self._listed[folder] = names
        return self._listed[folder]


def _form(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _forms(text: str) -> str:
    return "NFC" if unicodedata.is_normalized("NFC", text) else "NFD"
