# Short names of boards: the hardware model wants the SoC in the name.
set(nrf9160dk_BOARD_ALIAS nrf9160dk/nrf9160)
