"""Texts that identify a person, by kind, and ordinary texts that look like them."""

from __future__ import annotations

from support.traffic import CHROME, IPHONE

# Numbers that issuers publish for tests, of each known brand.
CARDS = (
    *(
        "4111111111111111",
        "4012888888881881",
        "4000000000000000006",
        "5555555555554444",
        "5105105105105100",
    ),
    *(
        "2223003122003222",
        "2720990000000015",
        "378282246310005",
        "341111111111111",
        "30569309025904",
    ),
    *(
        "38520000023237",
        "6011111111111117",
        "6500000000000002",
        "6200000000000005",
        "3530111333300000",
    ),
    *("6759649826438453", "6304000000000000", "2200000000000004"),
)
# The IBAN registry's own examples, of each length and kind.
IBANS = (
    *(
        "NO93 8601 1117 947",
        "BE68 5390 0754 7034",
        "DK50 0040 0440 1162 43",
        "NL91 ABNA 0417 1643 00",
    ),
    *("MK07 2501 2000 0058 984", "AT61 1904 3002 3457 3201", "CH93 0076 2011 6238 5295 7"),
    *("DE89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19", "IL62 0108 0000 0009 9999 999"),
    *(
        "ES91 2100 0418 4502 0005 1332",
        "PT50 0002 0123 1234 5678 9015 4",
        "FR14 2004 1010 0505 0001 3M02 606",
    ),
    *("PL61 1090 1014 0000 0712 1981 2874", "BR18 0036 0305 0000 1000 9795 493C 1"),
    *("MU17 BOMM 0101 1010 3030 0200 000M UR", "MT84 MALT 0110 0001 2345 MTLC AST0 01S"),
)
PHONES = (
    *(
        "+43 664 1234567",
        "+436641234567",
        "+43 (664) 123-45-67",
        "+44 20 7946 0958",
        "+44 (0)20 7946 0958",
    ),
    *("+1 202 555 0123", "+1-202-555-0123", "+1 (202) 555-0123", "+12025550123", "+1.202.555.0123"),
    *(
        "+49 30/1234567",
        "+33 1 99 00 12 34",
        "+ 43 664 1234567",
        "+91 98765 43210",
        "+598 2345 6789",
    ),
    *(
        "(202) 555-0123",
        "202-555-0123",
        "tel:+43-664-1234567",
        "tel:0664123456",
        "Tel.: 0664 123 456",
    ),
    *("fax: 01/234 56 78", "callto:12345678", "phone: 2025550123"),
)
MACS = (
    "00:1a:2b:3c:4d:5e",
    "00:1A:2B:3C:4D:5E",
    "12:34:56:78:90:12",
    "00-1A-2B-3C-4D-5E",
    "001a.2b3c.4d5e",
    "mac:00:1a:2b:3c:4d:5e",
)
PLACES = (
    *("48.2082, 16.3738", "48.2082,16.3738", "-33.8688, 151.2093", "16.3738;48.2082"),
    *(
        "at 48.20817 , 16.37382 now",
        "@48.2082,16.3738,15z",
        "(40.7128, -74.0060)",
        "geo:48.2082,16.3738",
    ),
    *(
        "geo:48.2082,16.3738;u=35",
        "GEO:-33.8688,151.2093",
        """48°12'30"N 16°22'26"E""",
        "48°12′30″N",
        "48° 12' N",
    ),
    *(
        "N 48° 12.500'",
        "48º12’30”N",
        "48.2082° N, 16.3738° E",
        "48.2082 N, 16.3738 E",
        "33.87 S 151.21 E",
    ),
    *(
        "POINT(16.3738 48.2082)",
        "point (16.3738 48.2082)",
        "lat=48.2&lng=16.3",
        "lat: 48.21",
        "latitude = -33.86",
    ),
)
URLS = (
    *(
        "https://www.example.org/a?token=abc",
        "https://example.org/?a",
        "http://example.org/a/b?x=1&y=2#z",
    ),
    *("//example.org/a?b=c", "/reset?token=abc", "reset?token=abc", "see www.example.org?q=x."),
    *("https://example.org/#access_token=abc", "https://example.org/a#id_token=x&state=y"),
    *(
        "https://jane:secret@example.org/",
        "https://jane@example.org:8080/x",
        "postgres://app:secret@db/signal",
    ),
    *("ftp://anonymous@ftp.example.org", "https://example.org/a?filter[name]=x"),
    *("https://example.org/a?%65mail=x",),
)
# Whole user agents, those without "Mozilla", and parts such as an error's text has.
USER_AGENTS = (
    IPHONE,
    CHROME,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "mozilla/5.0 (x11; linux x86_64; rv:128.0) gecko/20100101 firefox/128.0",
    "Mozilla/5.0+(Linux;+Android+15;+Pixel+9)",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)",
    "Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7 Build/TQ3A.230901.001)",
    "Expo/1017699 CFNetwork/1399 Darwin/22.1.0",
    "Shop/3.1 (iPhone; iOS 18.6; Scale/3.00)",
    "Shop/3.1 (Linux;Android 9; AFTDCT31)",
    "Shop/3.1 (Macintosh; Intel Mac OS X 10_15_7)",
    "Opera/9.80 (Windows NT 6.1; U; de) Presto/2.10",
    "UCWEB/2.0 (MIDP-2.0; U; Adr 9; ru; Redmi_Note_8) U2/1.0.0 Mobile",
    "HbbTV/1.1.1 (; Vestel; MB70; 1.0; 1.0;) NetFront/4.1",
    "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148",
    "Version/18.6 Mobile/15E148 Safari/604.1",
    "5.0 (X11; Linux x86_64) in Gecko/20100101",
    # Parts without a slash, without any other sign, and with JSON's own escape
    "(Linux; Android 15; Pixel 9",
    "(Windows NT 10.0; Win64; x64)",
    "(iPhone; CPU iPhone OS 17_0 like Mac OS X)",
    "Gecko/20100101 Firefox/140",
    "Dalvik/2",
    r"AppleWebKit\/605.1.15 Version\/18.6 Mobile\/15E148 Safari\/604.1",
    r"Mozilla\/4.0 [compatible]",
    r"Mozilla\\\\\\\/4.0 [compatible]",
)
PRIVATE = (*CARDS, *IBANS, *PHONES, *MACS, *PLACES, *URLS, *USER_AGENTS)
ORDINARY = (
    # Numbers that look like one of these
    *(
        "4111111111111112",
        "1234567890123456",
        "0.4111111111111111",
        "14111111111111111",
        "a4111111111111111",
    ),
    *("4111-1111 1111-1111", "4006381333931", "9783161484100", "1732099200000", "1732099200000000"),
    *(
        "1732099200000000000",
        "20261123101530",
        "DE88 3704 0044 0532 0130 00",
        "DE89 3704 0044 0532 0130 0",
    ),
    *("XX89 3704 0044 0532 0130 00", "de12", "GB2026", "be60b7fe-381a-9713-7bb8-ee3d0502bccc"),
    *(
        "b09dd44e-8e57-ee36-b095-666afb71e0ff",
        "550e8400-e29b-41d4-a716-446655440000",
        "+1",
        "+25 %",
        "+100",
    ),
    *(
        "+1 000 000",
        "+20261123",
        "1.2.0+20261123",
        "v2.0.0-rc.1+20261123101530",
        "UTC+02:00",
        "GMT +0200",
    ),
    *(
        "+0000123456789",
        "+48.208123",
        "a+12345678",
        "q=a+12345678901",
        "+1 2 3 4 5 6 7 8 9",
        "1+1=2",
    ),
    *(
        "C++ 20261123",
        "+1 202 555 012",
        "123-456-7890",
        "2026-000123",
        "100-200-3000",
        "(123) 456-7890",
    ),
    *(
        "202-555-01234",
        "SKU 202-555-0123-A",
        "tel: 123",
        "hotel: 1234567",
        "01:02:03:04",
        "01:02:03:04:05",
    ),
    *(
        "26-11-23-10-15-30",
        "1234.5678.9012",
        "00:1a:2b:3c:4d",
        "a1:00:1a:2b:3c:4d:5e",
        "00:1a:2b:3c:4d:zz",
    ),
    *("12.34.56", "2026-11-23-10-15-30", "aa-bb-cc-dd-ee-ff-gg"),
    # Chains that are longer than an address, and drawings
    *(
        "aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99",
        ":".join(["a1"] * 20),
        ":".join(["0f"] * 32),
    ),
    *(
        "translate(12.5000, 13.5000)",
        "M 10.1234,20.5678 L 30.1234,40.5678",
        "scale: 1.2345, 1.2345",
    ),
    *("M10.1234,20.5678 C 30.1234,40.5678 50.1234,60.5678", "rotate(45 10.1234, 20.5678)"),
    *(
        'viewBox="0 0 10.1234, 20.5678"',
        "point (1.5 2.5)",
        "geo:1,2",
        "matrix(1, 0, 0, 1, 12.3456, 65.4321)",
    ),
    # Pairs that are no place
    *(
        "0.5234, 0.4821",
        "1.50, 2.25",
        "12.345, 67.890",
        "0.25, 0.1, 0.25, 1.0",
        "48.2082, 16.3738, 171.0",
    ),
    *(
        "1.2.3, 4.5678",
        "123.45678, 456.78901",
        "translate(12.5px, 40.25px)",
        "M12.34567,45.67891L1.2,3.4",
    ),
    *(
        "48.2082",
        "90 °C",
        "48° turn",
        "5'10\"",
        "12.50 N",
        "point (1 2)",
        "point 4 (of 12)",
        "flat: 1.5",
    ),
    *("lat: north", "geography:1,2", "geo", "1.5 s, 2.5 e.g."),
    # Links and texts without a query
    *(
        "https://www.example.org/a/b",
        "https://www.example.org/a#part",
        "https://example.org/@jane/post",
    ),
    *("is it? yes=1", "a ? b : c = d", "What is 2 + 2?", "see https://example.org/a?"),
    *(
        "http://example.org:8080/",
        "E = mc²",
        "a=b&c=d",
        "x?.y ?? z",
        "file?.txt",
        "a?b=!1:c",
        "x ?y==z",
        "(?P=name)",
        "?",
        "?=",
        "https://",
        "://",
    ),
    *("://@", "//comment @todo"),
    # Names of browsers, systems, libraries and folders
    *("Mozilla", "Mozilla Firefox", "mozilla/pdf.js", "Firefox 120", "Firefox/120.0"),
    *("Chrome/150 on macOS", "Chrome (Android 13)", "Safari 18.6 / WebKit", "iOS 18/Safari"),
    *("phones/tablets (iPhone; Android)", "(iPad; landscape) 4/3", "Windows NT 10.0 / x64"),
    *("okhttp/4.12.0", "axios/1.7.2", "curl/8.5.0", "Dart/3.5 (dart:io)", "python-requests/2.32"),
    *("animals/gecko/3.jpg", "music/opera/9.mp3", "img/safari/600.jpg", "Opera/9"),
)
