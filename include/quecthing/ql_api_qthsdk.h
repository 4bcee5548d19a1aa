/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The newer name of QuecThing's header.
 */
#ifndef QL_API_QTHSDK_H_
#define QL_API_QTHSDK_H_

#include "Ql_iotApi.h"

#endif
