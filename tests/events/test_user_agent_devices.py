"""The device type of a user agent."""

from __future__ import annotations

import pytest

from signal_pipeline.events.user_agents import parse_user_agent

ANDROID_9 = "Mozilla/5.0 (Linux; Android 9; "


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 Safari", "console"),
        ("Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/609.4", "console"),
        ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 Chrome/94.0 Safari/537.36", "tv"),
        ("Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 TV Safari/537.36", "tv"),
        ("Mozilla/5.0 (Linux; Android 9; AFTT) AppleWebKit/537.36 Mobile Safari/537.36", "tv"),
        ("Mozilla/5.0 (Linux; U; en-us; KFAPWI) AppleWebKit/535.19 Silk/3.13 Safari", "tablet"),
        ("Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1) AppleWebKit/537.36 Mobile", "mobile"),
        ("Mozilla/5.0 (BB10; Touch) AppleWebKit/537.10 Version/10.0 Mobile Safari", "mobile"),
        ("Nokia6100/1.0 (04.01) Profile/MIDP-1.0 Configuration/CLDC-1.0", "mobile"),
        # Named by the diagonal of the screen, although they say Mobile or nothing
        (f"{ANDROID_9}43UK30G) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36", "tv"),
        (
            (
                f"{ANDROID_9}SW-LED32SB302 Build/PPR2; wv) AppleWebKit/537.36 Chrome/66.0"
                " Safari/537.36"
            ),
            "tv",
        ),
        (
            (
                f"{ANDROID_9}Chromecast Build/QTS1.210311.008; wv) AppleWebKit/537.36 Mobile"
                " Safari/537.36"
            ),
            "tv",
        ),
        (f"{ANDROID_9}Smart Box G2) AppleWebKit/537.36 Chrome/89.0 Safari/537.36", "tv"),
        (
            f"{ANDROID_9}AFTKMST12) AppleWebKit/537.36 Silk/73.5.7 like Chrome/73.0 Safari/537.36",
            "tv",
        ),
        # Phones and tablets that look like televisions
        (f"{ANDROID_9}STV100-3) AppleWebKit/537.36 Chrome/55.0 Mobile Safari/537.36", "mobile"),
        (f"{ANDROID_9}LG-H968) AppleWebKit/537.36 Chrome/68.0 Mobile Safari/537.36", "mobile"),
        (f"{ANDROID_9}TurboX_Ray) AppleWebKit/537.36 Chrome/80.0 Mobile Safari/537.36", "mobile"),
        (f"{ANDROID_9}BNTV650) AppleWebKit/537.36 Chrome/81.0 Safari/537.36", "tablet"),
        # Tablets that say Mobile, and a maker of phones that is called Pad
        (f"{ANDROID_9}AGM_PAD_P1) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36", "tablet"),
        (f"{ANDROID_9}JDN2-W09) AppleWebKit/537.36 Chrome/97.0 Mobile Safari/537.36", "tablet"),
        (
            (
                f"{ANDROID_9}T30) AppleWebKit/537.36 Chrome/120.0 YaApp_Android/24.12/apad Mobile"
                " Safari/537.36"
            ),
            "tablet",
        ),
        (
            f"{ANDROID_9}Coolpad 3632A) AppleWebKit/537.36 Chrome/80.0 Mobile Safari/537.36",
            "mobile",
        ),
        # Names of apps, after the browser
        (
            f"{ANDROID_9}SM-G960F) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36 Dropbox/3",
            "mobile",
        ),
        (
            f"{ANDROID_9}SM-G960F) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36 Wattpad",
            "mobile",
        ),
        (
            (
                f"{ANDROID_9}SM-G960F) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36 Tab/2"
                " Minix/1"
            ),
            "mobile",
        ),
        (
            (
                f"{ANDROID_9}SM-G960F) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36"
                " SatelliteRadio/2"
            ),
            "mobile",
        ),
        (f"{ANDROID_9}SM-T500) AppleWebKit/537.36 Chrome/74.0 Safari/537.36 Coolpad/1", "tablet"),
        # The end is missing
        (
            (
                f"{ANDROID_9}V2056A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0"
                " Chrome/77.0.3865.120"
            ),
            "mobile",
        ),
        # Computers with Android, and a console with Linux
        (
            f"{ANDROID_9}Dell Chromebook 11 (3180)) AppleWebKit/537.36 Chrome/76.0 Safari/537.36",
            "desktop",
        ),
        (
            f"{ANDROID_9}Lenovo ThinkPad T480) AppleWebKit/537.36 Chrome/76.0 Safari/537.36",
            "desktop",
        ),
        (
            (
                f"{ANDROID_9}ThinkPad Tablet Build/A400_03) AppleWebKit/537.36 Chrome/76.0"
                " Safari/537.36"
            ),
            "tablet",
        ),
        (f"{ANDROID_9}ASUS Chromebox) AppleWebKit/537.36 Chrome/76.0 Safari/537.36", "desktop"),
        (
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"
                " SteamDeck"
            ),
            "console",
        ),
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; ARM; Lumia 550) AppleWebKit/537.36 Chrome/46.0"
                " Edge/13.1"
            ),
            "mobile",
        ),
    ],
)
def test_device_types(text: str, device: str) -> None:
    parsed = parse_user_agent(text)
    assert (parsed.bot, parsed.device_type) == (False, device)
